"""Sections of patients, by a hash of their names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from doll_monai.utils.errors import InputError


def split_patients(patients: Iterable[str], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """Section of every patient, by a hash of its name alone: patients that come or go move nobody else.

    Args:
        patients: names, in any order; duplicates are fine.
        shares: section to share of the patients; the shares add up to 1 and are met on average.
        seed: another seed, another split.

    Returns:
        patient to section.

    Raises:
        InputError: when a share is negative or they do not add up to 1.
    """
    if not shares or min(shares.values()) < 0 or abs(sum(shares.values()) - 1) > 1e-6:
        raise InputError(f"The shares of the sections must not be negative and add up to 1, not {dict(shares)}.")
    filled = [section for section, share in shares.items() if share > 0]
    result = {}
    for patient in patients:
        position, end = patient_position(patient, seed), 0.0
        for section in filled:
            end += shares[section]
            if position < end:
                break
        result[patient] = section
    return result


def patient_position(patient: str, seed: int) -> float:
    """A patient's place in [0, 1), from the SHA-256 of seed and name: the same on every machine."""
    digest = hashlib.sha256(f"{seed}:{patient}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53
