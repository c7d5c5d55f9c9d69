"""Which image comes next: the one about which networks disagree most."""

from __future__ import annotations

import random
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import torch
from monailabel.interfaces.tasks.strategy import Strategy

from doll_monai.utils.errors import InputError
from doll_tools.annotate.model import ServedModel

MAX_IMAGES = 40
"""Images that are looked at in one call at the most; their disagreement is remembered."""


class Disagreement(Strategy):
    """The image from which a model would learn most.

    Members of a task's ensemble (adapters trained with different seeds) are compared by their soft Dice, 1 less its
    mean over pairs and classes (query by committee, Seung et al., COLT 1992). Before there is an ensemble, members of
    the classifier's committee are compared by the spread of their probabilities; without one, the first image is next.

    Args:
        tasks: name to model.
        classifier: the committee, or None.
    """

    def __init__(self, tasks: Mapping[str, ServedModel], classifier: ServedModel | None) -> None:
        super().__init__("The image about which the networks disagree most")
        self.tasks = tasks
        self.classifier = classifier
        self._known: dict[tuple[str, int], dict[str, float]] = {}

    def __call__(self, request: dict[str, Any], datastore: Any) -> dict[str, Any] | None:
        """Args: request, ``model`` names the task (the first by default). Returns: ``id``, ``disagreement``, ``by``."""
        name = request.get("model") or next(iter(self.tasks), "")
        if name not in self.tasks:
            raise InputError(f"There is no task {name}; there are: {', '.join(self.tasks)}.")
        images = sorted(datastore.get_unlabeled_images())
        judge, how = self._judge(self.tasks[name])
        if not images or judge is None:
            return {"id": images[0], "by": how} if images else None
        known = self._known.setdefault((judge.name, judge.version), {})
        new = [image for image in images if image not in known]
        for image in random.Random(0).sample(new, min(len(new), MAX_IMAGES)):
            score = _score(judge, how, datastore.get_image_uri(image))
            if score is not None:
                known[image] = score
        image = max(images, key=lambda image: known.get(image, -1.0))
        return {"id": image, "disagreement": round(known.get(image, -1.0), 4), "by": how}

    def _judge(self, task: ServedModel) -> tuple[ServedModel | None, str]:
        try:
            members = len(task.networks()) if task.is_ready() else 0
        except InputError:  # weights that cannot be used: proposals say so
            members = 0
        if members > 1:
            return task, "adapters"
        if self.classifier is not None and self.classifier.is_ready():
            return self.classifier, "committee"
        return None, "first"


def _score(judge: ServedModel, how: str, path: str) -> float | None:
    try:
        members = judge.member_logits(path)[0].sigmoid()
    except Exception:  # an image that cannot be read is offered last; the annotator sees why when it is opened
        return None
    if how == "adapters":
        return 1 - float(torch.stack([soft_dice(a, b) for a, b in combinations(members, 2)]).mean())
    return float(members.std(dim=0, unbiased=False).mean())


def soft_dice(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Args: a, b, (T, ...) in [0, 1]. Returns: scalar, the mean over T of 2 sum(ab) / sum(a^2 + b^2)."""
    a, b = a.flatten(1), b.flatten(1)
    return ((2 * a * b).sum(1) / (a * a + b * b).sum(1).clamp_min(1e-6)).mean()
