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
        training: number of images for training; all that remain by default.
        validation: number of images for validation; all of the owner's, or those of a share of the patients by default.
        test: number of images for test at the most, those whose patients come last; all by default.
        validation_share: share of the patients for validation, from 0 to below 1.
        seed: another seed, another choice.

    Returns:
        for every image ``training``, ``validation``, ``test``, or None where it is left out.

    Raises:
        InputError: when there are fewer images than asked for, or a number or share is none.
    """
    _check_numbers(training=training, validation=validation, test=test)
    number = isinstance(validation_share, (int, float)) and not isinstance(validation_share, bool)
    if not number or not 0 <= validation_share < 1:
        raise InputError(f"validation_share is {validation_share}; it must be a number from 0 to below 1.")
    if any(pools):
        split = _owners(pools, patients, validation, validation_share, seed)
        for section, count in (("training", training), ("validation", validation)):
            found = split.count(section)
            if count is not None and count > found:
                raise InputError(f"{count} {section} images are asked for, there are {found}.")
            _keep(split, section, _ordered(patients, seed), count)
    elif training is None and validation is None:
        shares = {"validation": validation_share, "test": TEST_SHARE, "training": 1}
        split = [patient_section(patient, shares, seed) for patient in patients]
    elif training is None or validation is None:
        raise InputError("Give both numbers, training and validation, or neither; the rest of the images is for test.")
    else:
        split = split_images(patients, training, validation, seed)
    _keep(split, "test", _ordered(patients, seed)[::-1], test)
    return split


def patient_section(patient: str, shares: Mapping[str, float], seed: int) -> str:
    """Section of a patient, by a hash of its name alone: patients that come or go move nobody else.

    Args:
        patient: the name.
        shares: section to share of the patients, met on average; the last section takes what remains.
        seed: another seed, another split.
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
    images: dict[str, list[int]] = {}
    for index in _ordered(patients, seed):
        images.setdefault(patients[index], []).append(index)
    groups = iter(images.values())
    result: list[str | None] = [None] * len(patients)
    for section, number in (("validation", validation), ("training", training)):
        while number > 0:
            taken = next(groups, [])[:number]
            if not taken:
                raise InputError(
                    f"{training} training and {validation} validation images are asked for; the {len(patients)} images "
                    f"of {len(images)} patients do not give as many."
                )
            number -= len(taken)
            for index in taken:
                result[index] = section
    for group in groups:
        for index in group:
            result[index] = "test"
    return result


def in_several_pools(patients: Sequence[str], pools: Sequence[str | None]) -> list[str]:
    """Patients whose images lie in several of the owner's sections, sorted."""
    found: dict[str, set[str | None]] = {}
    for patient, pool in zip(patients, pools, strict=True):
        found.setdefault(patient, set()).add(pool)
    return sorted(patient for patient, sections in found.items() if len(sections - {None}) > 1)


def _check_numbers(**numbers: int | None) -> None:
    for name, number in numbers.items():
        least = int(name == "test")
        if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < least):
            raise InputError(f"The number of {name} images is {number}; it must be a whole number, {least} or more.")


def _owners(
    pools: Sequence[str | None], patients: Sequence[str], validation: int | None, share: float, seed: int
) -> list[str | None]:
    """The owner's sections, with validation images out of the training images where there are none."""
    split = list(pools)
    training = [index for index, pool in enumerate(pools) if pool == "training"]
    if "validation" in pools or not training:
        return split
    people = [patients[index] for index in training]
    if validation is not None:
        chosen = split_images(people, 0, validation, seed)
    else:
        chosen = [patient_section(patient, {"validation": share, "training": 1}, seed) for patient in people]
        for name in ("training", "validation") if share > 0 else ():
            if name not in chosen:
                raise InputError(
                    f"None of the {len(set(people))} patients fell into {name}; choose another validation_share or "
                    "seed, or give validation, a number of images."
                )
    for index, section in zip(training, chosen, strict=True):
        split[index] = "training" if section == "test" else section
    return split


def _keep(split: list[str | None], section: str, order: Sequence[int], count: int | None) -> None:
    """Leave out all images of a section but the first ones in an order."""
    for index in [index for index in order if split[index] == section][count:] if count is not None else ():
        split[index] = None


def _ordered(patients: Sequence[str], seed: int) -> list[int]:
    """Images in the order of their patients' hashes."""
    return sorted(range(len(patients)), key=lambda at: (patient_position(patients[at], seed), patients[at], at))
