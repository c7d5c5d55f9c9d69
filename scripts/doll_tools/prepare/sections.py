"""Which images are for training, validation and test: by the owner's split first, else by patient."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import accumulate

from doll_monai.utils.errors import InputError

VALIDATION_SHARE = 0.1
TEST_SHARE = 0.2
"""Shares of the patients where neither the owner nor the user says anything."""


def choose_sections(
    pools: Sequence[str | None],
    patients: Sequence[str],
    *,
    training: int | None = None,
    validation: int | None = None,
    test: int | None = None,
    validation_share: float = VALIDATION_SHARE,
    seed: int = 0,
) -> list[str | None]:
    """Section of every image.

    An owner's split stays: its test images are never for training, and validation images come from its training images
    when it has none of its own. Otherwise patients are split by a hash of seed and name. With numbers, validation
    images stay the same and few training images are among the many, as in ``split_images``.

    Args:
        pools: the owner's section of every image, ``training``, ``validation`` or ``test``; all None without a split.
        patients: the patient of every image.
        training, validation: numbers of images; by default all that remain, and the owner's or a share of the patients.
        test: number of images at the most, those whose patients come last.

    Returns:
        for every image ``training``, ``validation``, ``test``, or None where it is left out.

    Raises:
        InputError: when there are fewer images than asked for, or a number or share is none.
    """
    _check_numbers(training=training, validation=validation, test=test)
    if not isinstance(validation_share, (int, float)) or not 0 <= validation_share < 1:
        raise InputError(f"validation_share is {validation_share}; it must be a number from 0 to below 1.")
    if not any(pools) and (training is None) != (validation is None):
        raise InputError("Give both numbers, training and validation, or neither; the rest of the images is for test.")
    owned, split = any(pools), list(pools)
    if "validation" not in pools:
        free = [index for index, pool in enumerate(pools) if pool == ("training" if owned else None)]
        people = [patients[index] for index in free]
        if validation is None:
            shares = {"validation": validation_share, "test": 0.0 if owned else TEST_SHARE, "training": 1.0}
            chosen: list[str | None] = [patient_section(patient, shares, seed) for patient in people]
        else:
            chosen = split_images(people, 0 if owned else training or 0, validation, seed)
        for index, section in zip(free, chosen, strict=True):
            split[index] = "training" if owned and section == "test" else section
    order = _ordered(patients, seed)
    for section, number in (("training", training), ("validation", validation), ("test", test)):
        found = [index for index in (order if section != "test" else order[::-1]) if split[index] == section]
        if number is not None and number > len(found) and section != "test":
            raise InputError(f"{number} {section} images are asked for, there are {len(found)}.")
        for index in [] if number is None else found[number:]:
            split[index] = None
    return split


def patient_section(patient: str, shares: Mapping[str, float], seed: int) -> str:
    """Section of a patient, by a hash of its name alone: patients that come or go move nobody else.

    ``shares`` of the patients are met on average; the last section takes what remains.
    """
    ends = accumulate(shares.values())
    position = patient_position(patient, seed)
    return next((section for section, end in zip(shares, ends, strict=True) if position < end), list(shares)[-1])


def patient_position(patient: str, seed: int) -> float:
    """A patient's place in [0, 1), from the SHA-256 of seed and name: the same on every machine."""
    digest = hashlib.sha256(f"{seed}:{patient}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def split_images(patients: Sequence[str], training: int, validation: int, seed: int) -> list[str | None]:
    """Section of every image; no patient has images in two sections.

    Patients are taken in the order of a hash of seed and name: first for validation, so that it is the same for every
    number of training images, then for training, so that few training images are among the many; the rest is test.
    A patient with more images than a section still needs gives as many as it needs, the others' section is None.

    Raises:
        InputError: when a number is no whole number >= 0, or there are fewer images than asked for.
    """
    _check_numbers(training=training, validation=validation)
    result: list[str | None] = [None] * len(patients)
    order = _ordered(patients, seed)
    for section, number in (("validation", validation), ("training", training)):
        if number > len(order):
            raise InputError(
                f"{training} training and {validation} validation images are asked for; the {len(patients)} images "
                f"of {len(set(patients))} patients do not give as many."
            )
        taken = {patients[index] for index in order[:number]}
        for index in order[:number]:
            result[index] = section
        order = [index for index in order[number:] if patients[index] not in taken]
    for index in order:
        result[index] = "test"
    return result


def in_several_pools(patients: Sequence[str], pools: Sequence[str | None]) -> list[str]:
    """Patients whose images lie in several of the owner's sections, sorted."""
    first: dict[str, str] = {}
    pairs = [(patient, pool) for patient, pool in zip(patients, pools, strict=True) if pool is not None]
    return sorted({patient for patient, pool in pairs if first.setdefault(patient, pool) != pool})


def _check_numbers(**numbers: int | None) -> None:
    for name, number in numbers.items():
        least = int(name == "test")
        if number is not None and (type(number) is not int or number < least):
            raise InputError(f"The number of {name} images is {number}; it must be a whole number, {least} or more.")


def _ordered(patients: Sequence[str], seed: int) -> list[int]:
    """Images in the order of their patients' hashes."""
    return sorted(range(len(patients)), key=lambda at: (patient_position(patients[at], seed), patients[at], at))
