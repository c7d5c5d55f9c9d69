"""DICOM films as detectors write them, from a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

SOP_CLASSES = {"CR": "1.2.840.10008.5.1.4.1.1.1", "DX": "1.2.840.10008.5.1.4.1.1.1.1"}


def write_film(
    path: Path, grey: np.ndarray, modality: str = "DX", photometric: str = "MONOCHROME2", bits: int = 12
) -> pydicom.Dataset:
    """A single frame with rescale and window.

    Args:
        path: file to write.
        grey: (H, W) ``uint8``.
        modality: CR or DX.
        photometric: MONOCHROME1 stores the film inverted.
        bits: 8 < bits <= 16.
    """
    stored = (grey.astype(np.uint32) * ((1 << bits) - 1) // 255).astype(np.uint16)
    if photometric == "MONOCHROME1":
        stored = ((1 << bits) - 1 - stored).astype(np.uint16)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SOP_CLASSES[modality]
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    film.SOPClassUID, film.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    film.StudyInstanceUID, film.SeriesInstanceUID = generate_uid(), generate_uid()
    film.Modality, film.PatientName, film.PatientID = modality, "Doe^Jane", "SECRET-4711"
    film.PatientBirthDate, film.PatientSex, film.StudyDate, film.StudyTime = "19500101", "F", "20200102", "101112"
    film.StudyID, film.SeriesNumber, film.InstanceNumber, film.AccessionNumber = "1", "1", "1", "77"
    film.ReferringPhysicianName, film.PatientOrientation, film.Laterality = "", ["L", "F"], ""
    film.Rows, film.Columns, film.SamplesPerPixel = *grey.shape, 1
    film.PhotometricInterpretation, film.PixelRepresentation = photometric, 0
    film.BitsAllocated, film.BitsStored, film.HighBit = 16, bits, bits - 1
    film.RescaleSlope, film.RescaleIntercept, film.RescaleType = "2", "-5", "US"
    film.WindowCenter, film.WindowWidth = str(1 << bits), str(1 << bits)
    film.ImagerPixelSpacing = ["0.2", "0.2"]
    film.PixelData = stored.tobytes()
    film.is_little_endian, film.is_implicit_VR = True, False
    film.save_as(path, write_like_original=False)
    return film
