"""Adaptive early-learning correction: labels give way to confident predictions before they are learnt by heart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ignite.distributed as idist
import torch
import torch.nn.functional as F  # noqa: N812
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from monai.engines.utils import IterationEvents
from monai.networks.utils import eval_mode, train_mode
from monai.utils import CommonKeys

from doll_monai.findings import IGNORE
from doll_monai.handlers.engine import output_of
from doll_monai.handlers.learning_curve import slope_fall
from doll_monai.utils.errors import switch


class EarlyLearningCorrection:
    """Corrects the training labels of an observation once its training IoU flattens (ADELE, arXiv 2110.03740).

    A network fits right labels first and learns wrong ones by heart later, at another time for each class. For each
    observation (channel) the IoU of predictions and training labels is followed over the epochs. Once the slope of
    its learning curve has fallen by ``slope_threshold``, confident predictions, averaged over ``scales``, replace that
    observation's labels in every training batch, just before the loss.

    The paper's: IoU by class, curve, both thresholds, average over scales, consistency term. Ours: the scales (the
    paper's medical data had 0.7, 1 and 1.5), ``min_epochs``, and that predictions correct the labels of each batch
    anew. Labels are corrected only on images whose label has foreground of the observation, since a classifier's
    negative finding is no place to find it; and never such that no foreground is left, since confidence comes first on
    background.

    Cost, counted in pixels: nothing but the comparison before the first observation is corrected; from then on, with
    the default scales, 2.1 forward passes beside the step's own, two thirds of a training step. With a consistency
    term these passes are differentiated, from the first step on: 3.1 times the whole training.

    Args:
        enabled: false attaches nothing, so that one value of a configuration switches it.
        slope_threshold: relative fall of the slope from which on labels are corrected.
        confidence: a prediction p replaces a label where max(p, 1 - p) is above.
        scales: sizes of the image, relative to its own, at which predictions are made.
        consistency_weight: weight of the mean Kullback-Leibler divergence of the predictions of all scales from their
            average, added to the loss; over all pixels, for it knows no label.
        fill_ignored: whether confident predictions replace ignored pixels too; otherwise these stay ignored.
        min_epochs: epochs before anything is corrected; a curve of three parameters needs three.
        divisor: the sizes of scaled images are multiples of this number, as the network wants them.
        ignore_index: pixel value that is ignored.

    Raises:
        ValueError: when ``confidence`` is below 0.5, ``min_epochs`` below 3, or a scale is not positive.
    """

    def __init__(
        self,
        enabled: bool | str = True,
        slope_threshold: float = 0.9,
        confidence: float = 0.8,
        scales: Sequence[float] = (0.75, 1.0, 1.25),
        consistency_weight: float = 0.0,
        fill_ignored: bool = False,
        min_epochs: int = 4,
        divisor: int = 8,
        ignore_index: int = IGNORE,
    ) -> None:
        if confidence < 0.5 or min_epochs < 3 or not scales or min(scales) <= 0:
            raise ValueError("Correction needs confidence >= 0.5, min_epochs >= 3 and positive scales.")
        self.enabled = switch(enabled, "enabled")
        self.slope_threshold = slope_threshold
        self.confidence = confidence
        self.scales = list(scales)
        self.consistency_weight = consistency_weight
        self.fill_ignored = fill_ignored
        self.min_epochs = min_epochs
        self.divisor = divisor
        self.ignore_index = ignore_index
        self.curves: list[list[float]] = []
        """IoU of each observation, a list an epoch."""
        self.corrected: list[bool] = []
        """Whether the labels of each observation are corrected; empty before the first epoch is over."""
        self._overlap: torch.Tensor | None = None
        self._union: torch.Tensor | None = None
        self._consistency: torch.Tensor | None = None

    def attach(self, engine: Engine) -> None:
        """Attach to a MONAI ``SupervisedTrainer``, before ``TrainingState``, which saves what this handler knows."""
        if self.enabled:
            engine.add_event_handler(Events.EPOCH_STARTED, self._start)
            engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._correct)
            engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self._add_consistency)
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._follow)

    def state_dict(self) -> dict[str, Any]:
        """Learning curves, and which observations are corrected."""
        return {"curves": [list(curve) for curve in self.curves], "corrected": list(self.corrected)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state dict."""
        self.curves = [list(curve) for curve in state["curves"]]
        self.corrected = list(state["corrected"])

    def _start(self, _engine: Engine) -> None:
        self._overlap = self._union = None

    def _correct(self, engine: Engine) -> None:
        output = output_of(engine)
        logits, label = _plain(output[CommonKeys.PRED]).detach(), _plain(output[CommonKeys.LABEL])
        self._count(logits, label)
        pairs = self._correctable(label)
        if self.consistency_weight == 0 and not bool(pairs.any()):
            return
        probabilities = self._probabilities(engine)
        mean = probabilities.mean(0)
        if self.consistency_weight > 0:
            self._consistency = self.consistency_weight * divergence_from_mean(probabilities)
        # in place: the trainer holds the tensor that the loss will get
        label.copy_(correct_labels(label, mean.detach(), pairs, self.confidence, self.ignore_index, self.fill_ignored))

    def _add_consistency(self, engine: Engine) -> None:
        if self._consistency is not None:
            output_of(engine)[CommonKeys.LOSS] = output_of(engine)[CommonKeys.LOSS] + self._consistency
            self._consistency = None

    def _count(self, logits: torch.Tensor, label: torch.Tensor) -> None:
        """Add the batch to overlap and union of each observation, with the labels as they came."""
        known = label != self.ignore_index
        predicted, truth = (logits > 0) & known, (label > 0) & known
        overlap = (predicted & truth).sum((0, 2, 3)).double()
        union = (predicted | truth).sum((0, 2, 3)).double()
        self._overlap = overlap if self._overlap is None else self._overlap + overlap
        self._union = union if self._union is None else self._union + union

    def _correctable(self, label: torch.Tensor) -> torch.Tensor:
        """(B, T) bool: the observation is being corrected and the image's label has it."""
        if not any(self.corrected):
            return torch.zeros(label.shape[:2], dtype=torch.bool, device=label.device)
        return _has_foreground(label, self.ignore_index) & torch.tensor(self.corrected, device=label.device)

    def _probabilities(self, engine: Any) -> torch.Tensor:
        """(S, B, T, H, W): of each scale at the label's size; differentiable if a consistency term wants it."""
        output = output_of(engine)
        image, logits = _plain(output[CommonKeys.IMAGE]), _plain(output[CommonKeys.PRED])
        size = image.shape[-2:]
        result = []
        # evaluation mode: passes that are not trained on leave BatchNorm statistics and random numbers alone
        with (train_mode if self.consistency_weight > 0 else eval_mode)(engine.network):
            for scale in self.scales:
                scaled = logits
                if scale != 1:
                    shape = [max(round(length * scale / self.divisor), 1) * self.divisor for length in size]
                    scaled = _plain(engine.inferer(_resize(image, shape), engine.network))
                result.append(torch.sigmoid(_resize(scaled, size)))
        return torch.stack(result if self.consistency_weight > 0 else [item.detach() for item in result])

    def _follow(self, engine: Engine) -> None:
        """End of an epoch: add a point to each curve, and see which have become flat."""
        if self._overlap is None or self._union is None:
            return
        overlap, union = idist.all_reduce(self._overlap), idist.all_reduce(self._union)
        assert isinstance(overlap, torch.Tensor)
        assert isinstance(union, torch.Tensor)
        self.curves.append((overlap / union.clamp(min=1)).tolist())
        self.corrected = self.corrected or [False] * len(self.curves[0])
        if len(self.curves) < self.min_epochs:
            return
        for channel, curve in enumerate(zip(*self.curves, strict=True)):
            if not self.corrected[channel] and slope_fall(curve) > self.slope_threshold:
                self.corrected[channel] = True
                engine.logger.info(f"Labels of observation {channel} are corrected from now on, IoU {curve[-1]:.3f}.")


def correct_labels(
    label: torch.Tensor,
    probability: torch.Tensor,
    pairs: torch.Tensor,
    confidence: float = 0.8,
    ignore_index: int = IGNORE,
    fill_ignored: bool = False,
) -> torch.Tensor:
    """Labels with confident predictions in their place.

    Args:
        label: (B, T, H, W) with 0, 1 and ``ignore_index``.
        probability: (B, T, H, W) predictions.
        pairs: (B, T) bool, the images and observations to correct; one that would lose all foreground stays as it is.
        confidence: a prediction p counts where max(p, 1 - p) is above.
        ignore_index: pixel value that is ignored.
        fill_ignored: whether ignored pixels are replaced too.

    Returns:
        (B, T, H, W) of the label's type.
    """
    change = (torch.maximum(probability, 1 - probability) > confidence) & pairs[:, :, None, None]
    if not fill_ignored:
        change &= label != ignore_index
    corrected = torch.where(change, (probability > 0.5).to(label.dtype), label)
    return torch.where(_has_foreground(corrected, ignore_index)[:, :, None, None], corrected, label)


def divergence_from_mean(probabilities: torch.Tensor) -> torch.Tensor:
    """Mean Kullback-Leibler divergence of binary predictions from their average.

    Args:
        probabilities: (S, ...) of S scales.

    Returns:
        a scalar, 0 where all scales agree.
    """
    p = probabilities.clamp(1e-6, 1 - 1e-6)
    mean = p.mean(0, keepdim=True)
    return (p * (p / mean).log() + (1 - p) * ((1 - p) / (1 - mean)).log()).mean()


def _has_foreground(label: torch.Tensor, ignore_index: int) -> torch.Tensor:
    return ((label > 0) & (label != ignore_index)).flatten(2).any(2)


def _resize(x: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


def _plain(x: torch.Tensor) -> torch.Tensor:
    return x.as_tensor() if isinstance(x, MetaTensor) else x
