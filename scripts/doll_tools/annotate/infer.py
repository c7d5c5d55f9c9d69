"""What MONAI Label calls for ``/infer``: regions of a task, of a finding, corrected regions, and scores."""

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
from doll_tools.annotate.label_map import OTHERS, PICTURES, join_classes, label_values, strongest, write_mask
from doll_tools.annotate.model import ServedModel

THRESHOLD = 0.5
PICTURE_AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Where viewers place a picture as a volume: its axes are those of ITK and DICOM, to the left and back."""


class _ImageTask(InferTask):
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
        path = str(request["image"])
        version = self.model.version
        probabilities, affine = self.model.probabilities(path)
        mask, result = self.answer(probabilities, request)
        result |= {"label_names": self.labels, "version": version, "latencies": {}}
        file = None if mask is None else _temporary(mask, affine, path, request.get("result_extension"))
        result["latencies"]["total"] = round(time.monotonic() - start, 2)
        return file, result

    def answer(self, probabilities: np.ndarray, request: dict[str, Any]) -> tuple[np.ndarray | None, dict[str, Any]]:
        """Args: probabilities, (T, H, W) or (T,). Returns: a mask (H, W) or None, and figures."""
        raise NotImplementedError


class ProposeRegions(_ImageTask):
    """Regions of a task's classes.

    Args:
        model: of a task.
        bits: class to value.
    """

    def __init__(self, model: ServedModel, bits: Mapping[str, int]) -> None:
        self.bits = [bits[name] for name in model.classes]
        labels = label_values(dict(zip(model.classes, self.bits, strict=True)))
        super().__init__(model, InferType.SEGMENTATION, labels, f"Proposes {', '.join(model.classes)}.")

    def answer(self, probabilities: np.ndarray, request: dict[str, Any]) -> tuple[np.ndarray | None, dict[str, Any]]:
        return join_classes(probabilities > THRESHOLD, self.bits), {"classes": self.model.classes}


class CorrectRegions(ProposeRegions):
    """The same after clicks: ``foreground`` and ``background``, lists of (column, row), for the class ``label``.

    Clicks may also come as MONAI Label's DeepEdit sends them, a list for each class by its name.
    """

    def __init__(self, model: ServedModel, bits: Mapping[str, int]) -> None:
        super().__init__(model, bits)
        self.type = InferType.DEEPGROW
        self.description = f"Proposes {', '.join(model.classes)}, corrected by clicks."

    def answer(self, probabilities: np.ndarray, request: dict[str, Any]) -> tuple[np.ndarray | None, dict[str, Any]]:
        image = self.model.preprocessing({"image": request["image"]})["image"][0].numpy().T
        name = request.get("label") or self.model.classes[0]
        if name not in self.model.classes:
            raise InputError(f"There is no class {name}; there are: {', '.join(self.model.classes)}.")
        background = _clicks(request, "background")
        result = probabilities.copy()
        for number, own in enumerate(self.model.classes):
            foreground = _clicks(request, own) + (_clicks(request, "foreground") if own == name else [])
            away = background if own == name else []
            if foreground or away:
                result[number] = correct_proposal(probabilities[number], image, foreground, away)
        return super().answer(result, request)


class ProposeFindings(_ImageTask):
    """Regions of the observations of a pre-trained network.

    There are more observations than a mask has bits: ``finding`` gives the whole region of one; without it every pixel
    shows its most probable one, and the figures say how much of each is hidden.
    """

    def __init__(self, model: ServedModel) -> None:
        labels = {name: number for number, name in enumerate(model.classes, start=1)}
        super().__init__(model, InferType.SEGMENTATION, labels, "Proposes regions of CheXpert's observations.")

    def answer(self, probabilities: np.ndarray, request: dict[str, Any]) -> tuple[np.ndarray | None, dict[str, Any]]:
        finding = request.get("finding")
        if finding is not None and finding not in self.labels:
            raise InputError(f"There is no finding {finding}; there are: {', '.join(self.labels)}.")
        if finding is not None:
            number = self.labels[finding]
            mask = (probabilities[number - 1] > THRESHOLD).astype(np.uint8) * np.uint8(number)
        else:
            mask = strongest(probabilities, THRESHOLD)
        regions = {
            name: {
                "pixels": int((probabilities[number - 1] > THRESHOLD).sum()),
                "shown": int((mask == number).sum()),
                "highest_probability": round(float(probabilities[number - 1].max()), 3),
            }
            for name, number in self.labels.items()
        }
        return mask, {"regions": regions}


class ScoreFindings(_ImageTask):
    """Probabilities of CheXpert's observations, for the whole image."""

    def __init__(self, model: ServedModel) -> None:
        labels = {name: number for number, name in enumerate(model.classes)}
        super().__init__(model, InferType.CLASSIFICATION, labels, "Scores CheXpert's observations.")

    def answer(self, probabilities: np.ndarray, request: dict[str, Any]) -> tuple[np.ndarray | None, dict[str, Any]]:
        scores = [
            {"idx": number, "label": name, "score": round(float(probabilities[number]), 4)}
            for name, number in self.labels.items()
        ]
        return None, {"prediction": sorted(scores, key=lambda score: -float(score["score"]))}


def _clicks(request: Mapping[str, Any], name: str) -> list[Sequence[float]]:
    """Clicks as (column, row); a third coordinate, the slice, is left out."""
    clicks = request.get(name) or []
    try:
        return [(float(click[0]), float(click[1])) for click in clicks]
    except (TypeError, ValueError, IndexError) as error:
        raise InputError(f"'{name}' must be a list of clicks such as [[120, 88], [40, 200]].") from error


def _temporary(mask: np.ndarray, affine: np.ndarray, image: str, ending: str | None) -> str:
    """Write a mask; MONAI Label deletes it after it was sent."""
    picture = image.lower().endswith((*PICTURES, ".jpg", ".jpeg"))
    ending = ending or (".png" if picture else ".nii.gz")
    affine = PICTURE_AFFINE if picture else affine
    if ending not in (*PICTURES, *OTHERS):
        raise InputError(f"A mask cannot be written as {ending}; use {', '.join((*PICTURES, *OTHERS))}.")
    number, path = tempfile.mkstemp(suffix=ending)
    os.close(number)
    write_mask(path, mask, affine)
    return path
