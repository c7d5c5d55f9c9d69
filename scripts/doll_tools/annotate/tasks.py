"""What MONAI Label calls for ``/infer``: regions of a task, corrected by clicks, regions of findings, and scores."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from doll_monai.utils.errors import InputError
from doll_tools.annotate.correction import correct_proposal
from doll_tools.annotate.masks import PICTURES, VOLUMES, join_classes, label_values, write_mask
from doll_tools.annotate.model import ServedModel

THRESHOLD = 0.5
PICTURE_AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Where viewers place a picture as a volume: its axes are those of ITK and DICOM, to the left and back."""
Answer = tuple[np.ndarray | None, dict[str, Any]]


class ImageTask(InferTask):
    """A model that is asked about one image."""

    def __init__(self, model: ServedModel, kind: InferType, labels: Mapping[str, int], description: str) -> None:
        super().__init__(type=kind, labels=dict(labels), dimension=2, description=description)
        self.model = model

    def is_valid(self) -> bool:
        """Whether there are weights; a task without any appears after its first training."""
        return self.model.is_ready()

    def __call__(self, request: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
        """Args: request, with ``image``, an image's file. Returns: the mask's file, and what is to be known of it."""
        start = time.monotonic()
        path, version = str(request["image"]), self.model.version
        probabilities, affine = self.model.probabilities(path)
        mask, result = self.answer(probabilities, request)
        file = None if mask is None else _temporary(mask, affine, path, request.get("result_extension"))
        latencies = {"total": round(time.monotonic() - start, 2)}
        return file, {**result, "label_names": self.labels, "version": version, "latencies": latencies}

    def answer(self, probabilities: np.ndarray, request: dict[str, Any]) -> Answer:
        """Args: probabilities, (T, H, W) or (T,). Returns: a mask (H, W) or None, and figures."""
        raise NotImplementedError


class ProposeRegions(ImageTask):
    """Regions of a task's classes; of kind ``DEEPGROW``, they are corrected by the request's clicks.

    Clicks are ``foreground`` and ``background``, lists of (column, row), for the class ``label``; or as MONAI Label's
    DeepEdit sends them, a list for each class by its name.

    Args:
        model: of a task.
        kind: where a client offers it.
    """

    def __init__(self, model: ServedModel, kind: InferType = InferType.SEGMENTATION) -> None:
        how = ", corrected by clicks" if kind == InferType.DEEPGROW else ""
        super().__init__(model, kind, label_values(model.classes), f"Proposes {', '.join(model.classes)}{how}.")

    def answer(self, probabilities: np.ndarray, request: dict[str, Any]) -> Answer:
        if self.type == InferType.DEEPGROW:
            probabilities = self._corrected(probabilities, request)
        return join_classes(probabilities > THRESHOLD, self.model.classes), {"classes": self.model.classes}

    def _corrected(self, probabilities: np.ndarray, request: dict[str, Any]) -> np.ndarray:
        classes, result = self.model.classes, probabilities.copy()
        chosen = request.get("label") or classes[0]
        if chosen not in classes:
            raise InputError(f"There is no class {chosen}; there are: {', '.join(classes)}.")
        image = self.model.preprocessing({"image": request["image"]})["image"][0].numpy().T
        for number, name in enumerate(classes):
            foreground, background = _clicks(request, name), []
            if name == chosen:
                foreground, background = foreground + _clicks(request, "foreground"), _clicks(request, "background")
            if foreground or background:
                result[number] = correct_proposal(probabilities[number], image, foreground, background)
        return result


class ProposeFindings(ImageTask):
    """Regions of the observations of a pre-trained network.

    There are more observations than a mask has bits: ``finding`` gives the whole region of one; without it every pixel
    shows its most probable one.
    """

    def __init__(self, model: ServedModel) -> None:
        labels = {name: number for number, name in enumerate(model.classes, start=1)}
        super().__init__(model, InferType.SEGMENTATION, labels, "Proposes regions of CheXpert's observations.")

    def answer(self, probabilities: np.ndarray, request: dict[str, Any]) -> Answer:
        finding = request.get("finding")
        if finding is not None and finding not in self.labels:
            raise InputError(f"There is no finding {finding}; there are: {', '.join(self.labels)}.")
        regions = probabilities > THRESHOLD
        if finding is not None:
            return regions[self.labels[finding] - 1].astype(np.uint8) * np.uint8(self.labels[finding]), {}
        return np.where(regions.any(axis=0), probabilities.argmax(axis=0) + 1, 0).astype(np.uint8), {}


class ScoreFindings(ImageTask):
    """Probabilities of CheXpert's observations, for the whole image."""

    def __init__(self, model: ServedModel) -> None:
        labels = {name: number for number, name in enumerate(model.classes)}
        super().__init__(model, InferType.CLASSIFICATION, labels, "Scores CheXpert's observations.")

    def answer(self, probabilities: np.ndarray, request: dict[str, Any]) -> Answer:
        order = np.argsort(-probabilities)
        names = list(self.labels)
        scores = [{"idx": int(n), "label": names[n], "score": round(float(probabilities[n]), 4)} for n in order]
        return None, {"prediction": scores}


def _clicks(request: Mapping[str, Any], name: str) -> list[Sequence[float]]:
    """Clicks as (column, row); a third coordinate, the slice, is left out."""
    try:
        return [(float(click[0]), float(click[1])) for click in request.get(name) or []]
    except (TypeError, ValueError, IndexError) as error:
        raise InputError(f"'{name}' must be a list of clicks such as [[120, 88], [40, 200]].") from error


def _temporary(mask: np.ndarray, affine: np.ndarray, image: str, ending: str | None) -> str:
    """Write a mask to a file that MONAI Label deletes after it was sent."""
    picture = image.lower().endswith((*PICTURES, ".jpg", ".jpeg"))
    ending = ending or (".png" if picture else ".nii.gz")
    if ending not in (*PICTURES, *VOLUMES):
        raise InputError(f"A mask cannot be written as {ending}; use {', '.join((*PICTURES, *VOLUMES))}.")
    number, path = tempfile.mkstemp(suffix=ending)
    os.close(number)
    write_mask(path, mask, PICTURE_AFFINE if picture else affine)
    return path
