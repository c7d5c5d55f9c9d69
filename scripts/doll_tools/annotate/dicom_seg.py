"""Labels as DICOM Segmentation, by highdicom."""

from __future__ import annotations

import os
from collections.abc import Sequence

import highdicom as hd
import numpy as np
import pydicom
from highdicom.sr.coding import CodedConcept
from pydicom.errors import InvalidDicomError

import doll_monai
from doll_monai.utils.errors import InputError

ANATOMY = CodedConcept("123037004", "SCT", "Anatomical Structure")
ABNORMAL = CodedConcept("49755003", "SCT", "Morphologically Altered Structure")
CONCEPTS = {
    "lungs": (ANATOMY, CodedConcept("39607008", "SCT", "Lung")),
    "heart": (ANATOMY, CodedConcept("80891009", "SCT", "Heart")),
    "clavicles": (ANATOMY, CodedConcept("51299004", "SCT", "Clavicle")),
    "infection": (ABNORMAL, CodedConcept("409609008", "SCT", "Radiologic infiltrate of lung")),
}
"""SNOMED CT codes of the classes: category and type."""


def write_dicom_seg(
    path: str | os.PathLike[str], image: str | os.PathLike[str], channels: np.ndarray, classes: Sequence[str]
) -> None:
    """Write a binary DICOM SEG that refers to its image; segments may overlap.

    Args:
        path: file to write.
        image: the image, one frame of DICOM.
        channels: (T, H, W) bool, in the image's grid, none of them empty.
        classes: names of the T segments.

    Raises:
        InputError: when the image is no DICOM, or of another size.
    """
    try:
        source = pydicom.dcmread(image)
    except InvalidDicomError as error:
        raise InputError(f"{os.path.basename(image)} is no DICOM; a DICOM SEG belongs to a DICOM image.") from error
    if (source.Rows, source.Columns) != channels.shape[1:]:
        size = f"{channels.shape[2]} x {channels.shape[1]}"
        raise InputError(f"The mask is {size} pixels, its image {source.Columns} x {source.Rows}.")
    segments = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=CONCEPTS.get(name, (ABNORMAL, ABNORMAL))[0],
            segmented_property_type=CONCEPTS.get(name, (ABNORMAL, ABNORMAL))[1],
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number, name in enumerate(classes, start=1)
    ]
    seg = hd.seg.Segmentation(
        source_images=[source],
        pixel_array=np.moveaxis(channels, 0, -1)[np.newaxis].astype(np.uint8),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        series_instance_uid=hd.UID(),
        series_number=300,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="doll-monai",
        manufacturer_model_name="doll_tools.annotate",
        software_versions=doll_monai.__version__,
        device_serial_number="0",
        series_description="Annotation, research only",
    )
    seg.save_as(path)
