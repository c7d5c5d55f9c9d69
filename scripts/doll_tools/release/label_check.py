"""Checking one label file: whole, of the one layout, and as its table says."""

from __future__ import annotations

import gzip
from collections.abc import Mapping

import nibabel as nib
import numpy as np

from doll_monai.findings import BACKGROUND, FINDINGS, FOREGROUND, IGNORE
from doll_monai.utils.errors import InputError

_TEXTS = ("descrip", "aux_file", "db_name", "intent_name")
_AGAIN = "delete it and the folder 'rows', and run the label generation again"


def check_label(content: bytes, name: str, image_size: tuple[int, int], shares: Mapping[str, float]) -> None:
    """Check the content of a ``.nii.gz``.

    Args:
        content: the file's bytes.
        name: its path, for the error.
        image_size: (W, H) that it must have.
        shares: foreground share of each positive observation, to four digits, as the table has it.

    Raises:
        InputError: when it cannot be read, is no ``uint8`` (W, H, 1, 14) of 0, 1 and 255, carries text or an
            appendix, or has another foreground than the table says.
    """
    try:
        plain = gzip.decompress(content)
        image = nib.Nifti1Image.from_bytes(plain)
        label = np.asarray(image.dataobj)
    except Exception as error:
        raise InputError(f"The label {name} cannot be read; {_AGAIN}.") from error
    shape = (*image_size, 1, len(FINDINGS))
    if label.dtype != np.uint8 or label.shape != shape:
        raise InputError(f"The label {name} is {label.dtype} {label.shape} instead of uint8 {shape}; {_AGAIN}.")
    if not bool(np.isin(label, (BACKGROUND, FOREGROUND, IGNORE)).all()):
        raise InputError(f"The label {name} holds other values than 0, 1 and 255, it is an image; {_AGAIN}.")
    texts = [image.header[field].item().strip(b"\0 ") for field in _TEXTS]
    size = nib.Nifti1Header.single_vox_offset + label.nbytes
    if any(texts) or image.header.extensions or len(plain) != size:
        raise InputError(f"The label {name} carries more than a label in its file; {_AGAIN}.")
    found = (label == FOREGROUND).mean(axis=(0, 1, 2))
    for channel, observation in enumerate(FINDINGS):
        if abs(found[channel] - shares.get(observation, 0.0)) > 1e-4:
            raise InputError(
                f"The label {name} has {found[channel]:.4f} of its pixels in {observation}, labels.csv says "
                f"{shares.get(observation, 0.0):.4f}; do not mix folders of labels, or make them again."
            )
