"""What MONAI Label calls for ``/infer``: regions of a task, corrected by clicks, regions of findings, and scores."""

from __future__ import annotations

import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from doll_monai.utils.errors import InputError
from doll_tools.annotate.correction import correct_proposal
from doll_tools.annotate.masks import PICTURES, VOLUMES, join_classes, label_values, write_mask
from doll_tools.annotate.model import ServedModel

THRESHOLD = 0.5
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
        start, path, version = time.monotonic(), str(request["image"]), self.model.version
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
    """

    def __init__(self, model: ServedModel, kind: InferType = InferType.SEGMENTATION) -> None:
        how = ", corrected by clicks" if kind == InferType.DEEPGROW else ""
        super().__init__(model, kind, label_values(model.classes), f"Proposes {', '.join(model.classes)}{how}.")

    def answer(self, probabilities: np.ndarray, request: dict[str, Any]) -> Answer:
        classes = self.model.classes
        if self.type == InferType.DEEPGROW:
            chosen = _one_of(classes, request.get("label") or classes[0], "class")
            image = self.model.preprocessing({"image": request["image"]})["image"][0].numpy().T
            for number, name in enumerate(classes):
                foreground, background = _clicks(request, name), []
                if name == chosen:
                    foreground, background = foreground + _clicks(request, "foreground"), _clicks(request, "background")
                if foreground or background:
                    probabilities[number] = correct_proposal(probabilities[number], image, foreground, background)
        return join_classes(probabilities > THRESHOLD, classes), {"classes": classes}


class ProposeFindings(ImageTask):
    """Regions of the observations of a pre-trained network.

    There are more observations than a mask has bits: ``finding`` gives the whole region of one; without it every pixel
    shows its most probable one.
    """

    def __init__(self, model: ServedModel) -> None:
        labels = {name: number for number, name in enumerate(model.classes, start=1)}
        super().__init__(model, InferType.SEGMENTATION, labels, "Proposes regions of CheXpert's observations.")

    def answer(self, probabilities: np.ndarray, request: dict[str, Any]) -> Answer:
        regions, finding = probabilities > THRESHOLD, request.get("finding")
        if finding is not None:
            value = self.labels[_one_of(list(self.labels), finding, "finding")]
            return regions[value - 1].astype(np.uint8) * np.uint8(value), {}
        return np.where(regions.any(axis=0), probabilities.argmax(axis=0) + 1, 0).astype(np.uint8), {}


class ScoreFindings(ImageTask):
    """Probabilities of CheXpert's observations, for the whole image."""

    def __init__(self, model: ServedModel) -> None:
        labels = {name: number for number, name in enumerate(model.classes)}
        super().__init__(model, InferType.CLASSIFICATION, labels, "Scores CheXpert's observations.")

    def answer(self, probabilities: np.ndarray, request: dict[str, Any]) -> Answer:
        order, names = np.argsort(-probabilities), self.model.classes
        scores = [{"idx": int(n), "label": names[n], "score": round(float(probabilities[n]), 4)} for n in order]
        return None, {"prediction": scores}


def _one_of(names: Sequence[str], name: str, what: str) -> str:
    if name not in names:
        raise InputError(f"There is no {what} {name}; there are: {', '.join(names)}.")
    return name


def _clicks(request: Mapping[str, Any], name: str) -> list[Sequence[float]]:
    """Clicks as (column, row); a third coordinate, the slice, is left out."""
    try:
        return [(float(click[0]), float(click[1])) for click in request.get(name) or []]
    except (TypeError, ValueError, IndexError) as error:
        raise InputError(f"'{name}' must be a list of clicks such as [[120, 88], [40, 200]].") from error


def _temporary(mask: np.ndarray, affine: np.ndarray, image: str, ending: str | None) -> str:
    """Write a mask to a file that MONAI Label deletes after it was sent."""
    picture = image.lower().endswith(PICTURES)
    ending = ending or (".png" if picture else ".nii.gz")
    if ending not in (*PICTURES, *VOLUMES) or ending in (".jpg", ".jpeg"):
        raise InputError(f"A mask cannot be written as {ending}; ask for .png, .nii.gz, .nrrd or .mha.")
    path = Path(tempfile.gettempdir()) / f"{uuid.uuid4().hex}{ending}"
    write_mask(path, mask, affine, image)
    return str(path)
