"""DICOM images as detectors write them, from a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

SOP_CLASSES = {"CR": "1.2.840.10008.5.1.4.1.1.1", "DX": "1.2.840.10008.5.1.4.1.1.1.1"}


def write_image(
    path: Path, grey: np.ndarray, modality: str = "DX", photometric: str = "MONOCHROME2", bits: int = 12
) -> pydicom.Dataset:
    """A single frame with rescale and window.

    Args:
        path: file to write.
        grey: (H, W) ``uint8``.
        modality: CR or DX.
        photometric: MONOCHROME1 stores the image inverted.
        bits: 8 < bits <= 16.
    """
    stored = (grey.astype(np.uint32) * ((1 << bits) - 1) // 255).astype(np.uint16)
    if photometric == "MONOCHROME1":
        stored = ((1 << bits) - 1 - stored).astype(np.uint16)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SOP_CLASSES[modality]
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID, image.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    image.StudyInstanceUID, image.SeriesInstanceUID = generate_uid(), generate_uid()
    image.Modality, image.PatientName, image.PatientID = modality, "Doe^Jane", "SECRET-4711"
    image.PatientBirthDate, image.PatientSex, image.StudyDate, image.StudyTime = "19500101", "F", "20200102", "101112"
    image.StudyID, image.SeriesNumber, image.InstanceNumber, image.AccessionNumber = "1", "1", "1", "77"
    image.ReferringPhysicianName, image.PatientOrientation, image.Laterality = "", ["L", "F"], ""
    image.Rows, image.Columns, image.SamplesPerPixel = *grey.shape, 1
    image.PhotometricInterpretation, image.PixelRepresentation = photometric, 0
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, bits, bits - 1
    image.RescaleSlope, image.RescaleIntercept, image.RescaleType = "2", "-5", "US"
    image.WindowCenter, image.WindowWidth = str(1 << bits), str(1 << bits)
    image.ImagerPixelSpacing = ["0.2", "0.2"]
    image.PixelData = stored.tobytes()
    image.is_little_endian, image.is_implicit_VR = True, False
    image.save_as(path, write_like_original=False)
    return image
