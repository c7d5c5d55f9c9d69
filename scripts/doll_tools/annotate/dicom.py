"""Radiographs behind DICOMweb, and labels as DICOM Segmentation."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
from highdicom.sr.coding import CodedConcept
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.valuerep import DA, TM

import doll_monai
from doll_monai.utils.errors import InputError
from doll_tools.annotate.masks import FINAL, drawn_classes, split_classes
from doll_tools.annotate.store import SafeDatastore

MODALITIES = ("DX", "CR")
PENDING = "seg_pending"  # noted of a final label: whether the server has yet to take it
KEEP_SECONDS = 20.0  # for how long a server's list of images is used again
ANATOMY = CodedConcept("123037004", "SCT", "Anatomical Structure")
CONCEPTS = {
    "lungs": (ANATOMY, CodedConcept("39607008", "SCT", "Lung")),
    "heart": (ANATOMY, CodedConcept("80891009", "SCT", "Heart")),
    "clavicles": (ANATOMY, CodedConcept("51299004", "SCT", "Clavicle")),
    "infection": (
        CodedConcept("49755003", "SCT", "Morphologically Altered Structure"),
        CodedConcept("409609008", "SCT", "Radiologic infiltrate of lung"),
    ),
}
"""SNOMED CT codes of the classes: category and type."""
REPEATED = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate"),
    *("StudyTime", "Modality", "LossyImageCompressionRatio", "LossyImageCompressionMethod"),
)
FORMS = {"PatientBirthDate": DA, "StudyDate": DA, "StudyTime": TM, "PatientSex": hd.PatientSexValues}
"""What reads a value of such an attribute; a ``ValueError`` for another."""
_logger = logging.getLogger(__name__)


class DicomWebImages(SafeDatastore):
    """CR and DX series behind DICOMweb; final labels go back as DICOM SEG.

    An image counts as labeled when its label was saved by this app, whatever else the server has. MONAI Label's own
    datastore for DICOMweb converts images to NIfTI and has no locks.

    Args:
        client: of ``dicomweb_client``.
        cache: folder for images and labels.
    """

    def __init__(self, client: Any, cache: str, usual_classes: Callable[[str], Sequence[str]]) -> None:
        self._client = client
        self._series: tuple[float, list[str]] = (0.0, [])
        super().__init__(cache, usual_classes)

    def name(self) -> str:
        return str(self._client.base_url)

    def list_images(self) -> list[str]:
        """UIDs of the series; one search asks for one modality."""
        if time.monotonic() - self._series[0] > KEEP_SECONDS or not self._series[1]:
            found = [series for modality in MODALITIES for series in self._search(Modality=modality)]
            self._series = time.monotonic(), sorted({str(series.SeriesInstanceUID) for series in found})
        return list(self._series[1])

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        done = set(self.get_labeled_images())
        return [series for series in self.list_images() if series not in done]

    def get_image_uri(self, image_id: str) -> str:
        """The image's file, fetched when first asked for; an ``InputError`` when the server has no such series."""
        if image_id not in self._datastore.objects:
            with self._between:
                if image_id not in self._datastore.objects:
                    self._fetch(image_id)
        return str(super().get_image_uri(image_id))

    def _fetch(self, series: str) -> None:
        """Of the series and its patient only modality and identifiers of series and study are noted."""
        found = [item for item in self._search(SeriesInstanceUID=series) if item.SeriesInstanceUID == series]
        instances = self._client.retrieve_series(str(found[0].StudyInstanceUID), series) if found else []
        if not instances:
            raise InputError(f"There is no image {series} in {self.name()}.")
        first = min(instances, key=lambda item: int(item.get("InstanceNumber") or 0))
        if len(instances) > 1:
            _logger.warning("%s has %d images; the first is taken.", series, len(instances))
        info = {name: str(found[0].get(name, "")) for name in ("SeriesInstanceUID", "StudyInstanceUID", "Modality")}
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, f"{series}.dcm")
            first.save_as(path, write_like_original=False)
            self.add_image(series, path, info)

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Save a label here, and a final one as DICOM SEG on the server; one that it did not take is sent later."""
        label_id = super().save_label(image_id, label_filename, label_tag, label_info)
        if label_tag == FINAL:
            self.update_label_info(image_id, FINAL, {PENDING: True})
            self._send_pending()
        return label_id

    def _send_pending(self) -> None:
        for name, item in self._datastore.filter_by_tag(FINAL).items():
            if not item.labels[FINAL].info.get(PENDING):
                continue
            try:
                if seg := make_seg(self, name):
                    self._client.store_instances([seg])
            except Exception as error:
                reason = " ".join(str(error).split())[:200]
                _logger.warning("The label of %s is saved here and not yet on %s: %s", name, self.name(), reason)
                return
            self.update_label_info(name, FINAL, {PENDING: False})

    def _search(self, **filters: str) -> list[Dataset]:
        return [Dataset.from_json(item) for item in self._client.search_for_series(search_filters=filters)]


def make_seg(store: SafeDatastore, image_id: str) -> Dataset | None:
    """An image's final label as a binary DICOM SEG with a segment a class, which may overlap.

    Returns:
        None for a label without a pixel: DICOM has no empty segmentation of an image.

    Raises:
        InputError: when the image has no final label, or is no DICOM.
    """
    label = store.final_label(image_id)
    if label is None:
        raise InputError(f"{image_id} has no final label yet.")
    mask, known = label
    image = store.get_image_uri(image_id)
    try:
        source = pydicom.dcmread(image)
    except InvalidDicomError as error:
        raise InputError(f"{os.path.basename(image)} is no DICOM; a DICOM SEG belongs to a DICOM image.") from error
    drawn = [name for name in drawn_classes(mask) if name in known]
    if not drawn:
        return None
    _complete(source)
    segments = [
        hd.seg.SegmentDescription(number, name, *CONCEPTS[name], hd.seg.SegmentAlgorithmTypeValues.MANUAL)
        for number, name in enumerate(drawn, start=1)
    ]
    return hd.seg.Segmentation(
        source_images=[source],
        pixel_array=np.moveaxis(split_classes(mask, drawn), 0, -1)[np.newaxis].astype(np.uint8),
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


def _complete(image: Dataset) -> None:
    """Leave empty what a segmentation repeats of its image and a de-identified one lacks, or has in no valid form."""
    for name in REPEATED:
        value = image.get(name) or ""
        try:
            if value and name in FORMS:
                FORMS[name](value)
        except ValueError:
            value = ""
        setattr(image, name, value)
