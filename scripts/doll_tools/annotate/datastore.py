"""Images in a folder, and images behind DICOMweb."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from monailabel.datastore.dicom import DICOMWebDatastore
from pydicom.dataset import Dataset

from doll_monai.utils.errors import InputError
from doll_tools.annotate.dicom_seg import write_dicom_seg
from doll_tools.annotate.label_map import class_bits, split_classes
from doll_tools.annotate.locked_datastore import ENDINGS
from doll_tools.annotate.safe_labels import FINAL, SafeLabels

MODALITIES = ("DX", "CR")
SERIES_FIELDS = ("Modality", "StudyInstanceUID")
"""What is noted of a series; name, number and dates of the patient are not."""
PENDING = "seg_pending"
"""Noted of a final label that the server has not taken yet."""
KEEP_SECONDS = 20.0
"""For so long a server's answer to a search is taken again."""
_logger = logging.getLogger(__name__)


class ImageFolder(SafeLabels):
    """PNG, JPEG, TIFF, NIfTI, MetaImage, NRRD and DICOM images in one folder; labels go to ``labels/final``.

    Args:
        folder: the images.
        classes: all classes that have a bit.
        auto_reload: look out for images that come and go.
    """

    def __init__(self, folder: str, classes: Sequence[str], auto_reload: bool = True) -> None:
        self.classes = list(classes)
        patterns = [f"*{case}" for ending in ENDINGS for case in (ending, ending.upper())]
        super().__init__(folder, extensions=patterns, auto_reload=auto_reload)
        _warn_of_doubles(folder, self)


def _warn_of_doubles(folder: str, store: ImageFolder) -> None:
    seen: dict[str, str] = {}
    for name in sorted(os.listdir(folder)):
        image, ending = store._to_id(name)
        if ending and image in seen:
            _logger.warning("%s and %s have one name; only one of them is offered.", seen[image], name)
        seen[image] = name


class ImageServer(SafeLabels, DICOMWebDatastore):
    """CR and DX series behind DICOMweb; final labels go back as DICOM SEG.

    An image counts as labeled when its label was saved by this app, whatever else the server has.

    Args:
        client: of ``dicomweb_client``.
        classes: all classes that have a bit.
        cache: folder for images and labels.
    """

    def __init__(self, client: Any, classes: Sequence[str], cache: str) -> None:
        self.classes = list(classes)
        self._series: tuple[float, list[str]] = (0.0, [])
        super().__init__(client=client, search_filter={}, cache_path=cache, convert_to_nifti=False)

    def list_images(self) -> list[str]:
        """Series of the modalities CR and DX; one search asks for one modality."""
        if time.monotonic() - self._series[0] > KEEP_SECONDS or not self._series[1]:
            found = [series for modality in MODALITIES for series in self._search({"Modality": modality})]
            self._series = time.monotonic(), sorted({str(series.SeriesInstanceUID) for series in found})
        return list(self._series[1])

    def get_image_uri(self, image_id: str) -> str:
        """The image's file, fetched when it is asked for first.

        Raises:
            InputError: when the server has no such series.
        """
        with self._exclusive():
            if image_id not in self._datastore.objects:
                self._fetch(image_id)
            return self.image_file(image_id)

    def _fetch(self, series: str) -> None:
        found = [item for item in self._search({"SeriesInstanceUID": series}) if item.SeriesInstanceUID == series]
        instances = self._client.retrieve_series(str(found[0].StudyInstanceUID), series) if found else []
        if not instances:
            raise InputError(f"There is no image {series} in {self.name()}.")
        first = min(instances, key=lambda item: int(item.get("InstanceNumber") or 0))
        if len(instances) > 1:
            _logger.warning("%s has %d images; the first is taken.", series, len(instances))
        info = {"SeriesInstanceUID": series, **{name: str(found[0].get(name, "")) for name in SERIES_FIELDS}}
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, f"{series}.dcm")
            first.save_as(path, write_like_original=False)
            self.add_image(series, path, info)

    def get_label_uri(self, label_id: str, label_tag: str, image_id: str = "") -> str:
        return str(super(DICOMWebDatastore, self).get_label_uri(label_id, label_tag))

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        with self._mutex:
            done = {name for name, item in self._datastore.objects.items() if FINAL in item.labels}
        return [series for series in self.list_images() if series in done]

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        done = set(self.get_labeled_images())
        return [series for series in self.list_images() if series not in done]

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Save a label here, and a final one as DICOM SEG on the server; one that it did not take is sent later."""
        label_id = super().save_label(image_id, label_filename, label_tag, label_info)
        if label_tag == FINAL:
            self.update_label_info(image_id, FINAL, {PENDING: True})
            self._send_pending()
        return label_id

    def _send_pending(self) -> None:
        with self._mutex:
            labels = [(name, item.labels.get(FINAL)) for name, item in self._datastore.objects.items()]
        for name in [name for name, label in labels if label is not None and label.info.get(PENDING)]:
            try:
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder) / "seg.dcm"
                    if image_seg(self, name, path):
                        self._client.store_instances([pydicom.dcmread(path)])
            except Exception as error:
                reason = " ".join(str(error).split())[:200]
                _logger.warning("The label of %s is saved here and not yet on %s: %s", name, self.name(), reason)
                return
            self.update_label_info(name, FINAL, {PENDING: False})

    def datalist(self, full_path: bool = True) -> list[dict[str, Any]]:
        return list(super(DICOMWebDatastore, self).datalist(full_path))

    def _search(self, filters: dict[str, str]) -> list[Dataset]:
        return [Dataset.from_json(item) for item in self._client.search_for_series(search_filters=filters)]


def image_seg(store: Any, image_id: str, path: Path) -> bool:
    """Write an image's final label as DICOM SEG.

    Args:
        store: the datastore.
        image_id: a DICOM image with a final label.
        path: file to write.

    Returns:
        whether there was anything to write: DICOM knows no empty segmentation of an image.

    Raises:
        InputError: when the image has no final label, or is no DICOM.
    """
    mask = store.mask(image_id)
    if mask is None:
        raise InputError(f"{image_id} has no final label yet.")
    known = store.known_classes(image_id)
    bits = class_bits(store.classes)
    channels = split_classes(mask, [bits[name] for name in known]) if known else np.zeros((0, *mask.shape), bool)
    drawn = [number for number, channel in enumerate(channels) if channel.any()]
    if drawn:
        write_dicom_seg(path, store.get_image_uri(image_id), channels[drawn], [known[number] for number in drawn])
    return bool(drawn)
