"""Which image learns, which one watches and which one is only tested: owners' splits first, else by patient."""

from __future__ import annotations

from collections.abc import Sequence

from doll_monai.utils.errors import InputError
from doll_tools.prepare.masks import limit_test, split_images
from doll_tools.prepare.patients import patient_position, split_patients

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
    seed: int = 0,
) -> list[str | None]:
    """Section of every image.

    Where the owner gives a split it stays: its test images are never learnt from, and validation images come from its
    training images when it has none of its own. Otherwise patients are split by a hash of seed and name. With numbers,
    validation images stay the same and few training images are among the many, as in ``split_images``.

    Args:
        pools: the owner's section of every image, ``training``, ``validation`` or ``test``; all None without a split.
        patients: the patient of every image.
        training: number of images for training; all that remain by default.
        validation: number of images for validation; all of the owner's, or the images of 10 % of the patients by default.
        test: number of images for test at the most; all that remain by default (without an owner's split, 20 % of the
            patients).
        seed: another seed, another choice.

    Returns:
        for every image ``training``, ``validation``, ``test``, or None where it is left out.

    Raises:
        InputError: when there are fewer images than asked for, or a number is none.
    """
    for name, number in (("training", training), ("validation", validation), ("test", test)):
        if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 0):
            raise InputError(f"The number of {name} images is {number}; it must be a whole number, 0 or more.")
    if any(pools):
        split = _within_pools(pools, patients, training, validation, seed)
    elif training is None and validation is None:
        shares = {"validation": VALIDATION_SHARE, "test": TEST_SHARE, "training": 1 - VALIDATION_SHARE - TEST_SHARE}
        section_of = split_patients(patients, shares, seed)
        split = [section_of[patient] for patient in patients]
    elif training is None or validation is None:
        raise InputError("Give both numbers, training and validation, or neither; the rest of the images is for test.")
    else:
        split = split_images(patients, training, validation, seed)
    return split if test is None else limit_test(split, patients, test, seed)


def _within_pools(
    pools: Sequence[str | None], patients: Sequence[str], training: int | None, validation: int | None, seed: int
) -> list[str | None]:
    """Training and validation images out of the owner's; the owner's test images stay test images."""
    result: list[str | None] = ["test" if pool == "test" else None for pool in pools]
    learnt = [index for index, pool in enumerate(pools) if pool == "training"]
    watched = [index for index, pool in enumerate(pools) if pool == "validation"]
    if not watched:
        people = [patients[index] for index in learnt]
        if validation is None:
            shares = {"validation": VALIDATION_SHARE, "training": 1 - VALIDATION_SHARE}
            of_patient = split_patients(people, shares, seed)
            chosen: list[str | None] = [of_patient[patient] for patient in people]
            if "validation" not in chosen:
                raise InputError(
                    f"None of the {len(of_patient)} patients fell into validation; give validation, a number of images."
                )
        else:
            chosen = split_images(people, 0, validation, seed)
        watched = [index for index, section in zip(learnt, chosen, strict=True) if section == "validation"]
        learnt = [index for index, section in zip(learnt, chosen, strict=True) if section in ("training", "test")]
        validation = None
    for section, indices, number in (("training", learnt, training), ("validation", watched, validation)):
        for index in _first(indices, patients, section, number, seed):
            result[index] = section
    return result


def _first(indices: list[int], patients: Sequence[str], section: str, number: int | None, seed: int) -> list[int]:
    """So many images, those whose patients come first in the order of the seed."""
    if number is None:
        return indices
    if number > len(indices):
        raise InputError(f"{number} {section} images are asked for, there are {len(indices)}.")
    return sorted(indices, key=lambda index: (patient_position(patients[index], seed), patients[index], index))[:number]
