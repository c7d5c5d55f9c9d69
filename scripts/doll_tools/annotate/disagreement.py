"""Which image comes next: the one about which networks disagree most."""

from __future__ import annotations

import random
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import torch
from monai.losses import DiceLoss
from monailabel.interfaces.tasks.strategy import Strategy

from doll_monai.utils.errors import InputError
from doll_tools.annotate.model import ServedModel

MAX_IMAGES = 40  # that are looked at in one call at the most; their disagreement is remembered


class Disagreement(Strategy):
    """The image from which a model would learn most.

    Members of a task's ensemble (adapters trained with different seeds) are compared by their soft Dice loss, its mean
    over pairs and classes (query by committee, Seung et al., COLT 1992). Before there is an ensemble, members of the
    classifier's committee are compared by the spread of their probabilities; without one, the first image is next.
    """

    def __init__(self, tasks: Mapping[str, ServedModel], classifier: ServedModel | None) -> None:
        super().__init__("The image about which the networks disagree most")
        self.tasks, self.classifier = tasks, classifier
        self._known: dict[tuple[str, int], dict[str, float]] = {}

    def __call__(self, request: dict[str, Any], datastore: Any) -> dict[str, Any] | None:
        """Args: request, ``model`` names the task (the first by default). Returns: ``id``, ``disagreement``, ``by``."""
        name = request.get("model") or next(iter(self.tasks), "")
        if name not in self.tasks:
            raise InputError(f"There is no task {name}; there are: {', '.join(self.tasks)}.")
        images = sorted(datastore.get_unlabeled_images())
        if not images:
            return None
        trained = len(self.tasks[name].adapters()) > 1
        judge = self.tasks[name] if trained else self.classifier
        if judge is None:
            return {"id": images[0], "by": "first"}
        known = self._known.setdefault((judge.name, judge.version), {})
        new = [image for image in images if image not in known]
        for image in random.Random(0).sample(new, min(len(new), MAX_IMAGES)):
            try:
                members = judge.member_logits(datastore.get_image_uri(image))[0].sigmoid()
            except Exception:  # an image that cannot be read is offered last; the annotator sees why when it is opened
                continue
            known[image] = _soft_dice_loss(members) if trained else float(members.std(dim=0, unbiased=False).mean())
        image = max(images, key=lambda image: known.get(image, -1.0))
        by = "adapters" if trained else "committee"
        return {"id": image, "disagreement": round(known.get(image, -1.0), 4), "by": by}


def _soft_dice_loss(members: torch.Tensor) -> float:
    """Args: members, (K, T, h, w) in [0, 1]. Returns: mean over pairs and T of 1 - 2 sum(ab) / sum(a^2 + b^2)."""
    first, second = zip(*combinations(members, 2), strict=True)
    return float(DiceLoss(squared_pred=True, smooth_nr=0, smooth_dr=1e-6)(torch.stack(first), torch.stack(second)))
