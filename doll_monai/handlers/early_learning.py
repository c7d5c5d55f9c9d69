"""Adaptive early-learning correction: labels give way to confident predictions before they are learnt by heart."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from monai.networks.utils import eval_mode
from monai.utils import CommonKeys
from scipy.optimize import OptimizeWarning, curve_fit

from doll_monai.findings import IGNORE
from doll_monai.handlers.engine import output_of
from doll_monai.utils.errors import InputError, explained

MIN_EPOCHS = 4  # before anything is corrected; ours: a curve of three parameters needs three
DIVISOR = 8  # of the sizes of scaled images, as the networks want them


class EarlyLearningCorrection:
    """Corrects the training labels of an observation once its training IoU flattens (ADELE, arXiv 2110.03740).

    A network fits right labels first and learns wrong ones by heart later, at another time for each observation. Once
    the slope of an observation's learning curve has fallen by ``slope_threshold``, confident predictions, averaged over
    ``scales``, replace its labels in every training batch, just before the loss; ignored pixels stay ignored.

    Ours: the scales, no consistency term; only an image whose label has foreground of the observation is corrected,
    and never such that none is left, since confidence comes first on background.

    Args:
        slope_threshold: relative fall of the slope from which on labels are corrected.
        confidence: a prediction p replaces a label where max(p, 1 - p) is above.
        scales: sizes of the image, relative to its own, at which predictions are made.

    Raises:
        InputError: when ``confidence`` is below 0.5 or a scale is not positive.
    """

    @explained
    def __init__(
        self, slope_threshold: float = 0.9, confidence: float = 0.8, scales: Sequence[float] = (0.75, 1.0, 1.25)
    ) -> None:
        if confidence < 0.5 or not scales or min(scales) <= 0:
            raise InputError("Correction needs confidence >= 0.5 and positive scales.")
        self.slope_threshold, self.confidence, self.scales = slope_threshold, confidence, list(scales)
        self.curves: list[list[float]] = []  # IoU of each observation, a list an epoch
        self.corrected: list[bool] = []  # whether each observation's labels are; empty in the first epoch
        self._counts: list[torch.Tensor] = []

    def attach(self, engine: Engine) -> None:
        """Attach to a MONAI ``SupervisedTrainer``; a ``TrainingState`` should have this handler in its objects."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._counts.clear)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._correct)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._follow)

    def state_dict(self) -> dict[str, Any]:
        """Learning curves, and which observations are corrected."""
        return {"curves": self.curves, "corrected": self.corrected}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state dict."""
        self.curves, self.corrected = list(state["curves"]), list(state["corrected"])

    def _correct(self, engine: Engine) -> None:
        keys = (CommonKeys.IMAGE, CommonKeys.PRED, CommonKeys.LABEL)
        image, logits, label = (output_of(engine)[key].as_subclass(torch.Tensor) for key in keys)
        known = label != IGNORE
        predicted, labeled = (logits > 0) & known, (label > 0) & known
        counts = [(predicted & labeled).sum((0, 2, 3)), (predicted | labeled).sum((0, 2, 3))]
        self._counts.append(torch.stack(counts).double())
        if any(self.corrected):  # of all processes alike: they must run the network as often
            pairs = labeled.flatten(2).any(2) & torch.tensor(self.corrected, device=label.device)
            probability = self._probability(engine, image, logits)
            # in place: the trainer holds the tensor that the loss will get
            label.copy_(correct_labels(label, probability, pairs, self.confidence))

    def _probability(self, engine: Any, image: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """(B, T, H, W), the mean over the scales; other passes leave BatchNorm statistics and random numbers alone."""
        size, probabilities = image.shape[-2:], []
        with eval_mode(engine.network):
            for scale in self.scales:
                scaled = logits
                if scale != 1:
                    shape = [max(round(length * scale / DIVISOR), 1) * DIVISOR for length in size]
                    scaled = engine.inferer(F.interpolate(image, shape, mode="bilinear"), engine.network)
                    scaled = F.interpolate(scaled, size, mode="bilinear")
                probabilities.append(torch.sigmoid(scaled))
        return torch.stack(probabilities).mean(0)

    def _follow(self, engine: Engine) -> None:
        """After an epoch's last step: add a point to each curve, and see which have become flat."""
        if not self._counts or engine.state.iteration % (engine.state.epoch_length or 1):
            return
        overlap, union = torch.as_tensor(idist.all_reduce(torch.stack(self._counts).sum(0)))
        self.curves.append((overlap / union.clamp(min=1)).tolist())
        self.corrected = self.corrected or [False] * len(overlap)
        for channel, curve in enumerate(zip(*self.curves, strict=True)):
            if not self.corrected[channel] and len(curve) >= MIN_EPOCHS and slope_fall(curve) > self.slope_threshold:
                self.corrected[channel] = True
                engine.logger.info(f"Labels of observation {channel} are corrected from now on, IoU {curve[-1]:.3f}.")


def correct_labels(
    label: torch.Tensor, probability: torch.Tensor, pairs: torch.Tensor, confidence: float = 0.8
) -> torch.Tensor:
    """Labels (B, T, H, W) with 0, 1 and 255, ignored, with confident predictions (B, T, H, W) in their place.

    ``pairs`` (B, T) are the images and observations to correct; one that would lose all foreground stays as it is.
    """
    change = (torch.maximum(probability, 1 - probability) > confidence) & pairs[:, :, None, None] & (label != IGNORE)
    corrected = torch.where(change, (probability > 0.5).to(label.dtype), label)
    kept = ((corrected > 0) & (corrected != IGNORE)).flatten(2).any(2)
    return torch.where(kept[:, :, None, None], corrected, label)


def slope_fall(values: Sequence[float]) -> float:
    """How far the slope of a learning curve has fallen since the first epoch, (f'(1) - f'(t)) / f'(1).

    ``f(t) = a (1 - exp(-b t^c))`` is fitted to the values, in [0, 1], of three epochs t = 1, 2, ... at least: 1 where
    the curve is flat, negative where it rises faster than at first, 0 when it is zero throughout or no curve fits.
    ADELE takes the magnitude of the change; here a slope that grows is no sign of memorization.
    """
    curve = np.asarray(values, dtype=np.float64)
    if curve.max() <= 0:
        return 0.0
    t = np.arange(1.0, len(curve) + 1)
    start, bounds = (min(curve.max(), 1.0), 1.0, 1.0), (0, (1, np.inf, np.inf))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", OptimizeWarning)
        try:
            (_, b, c), _ = curve_fit(lambda t, a, b, c: a * -np.expm1(-b * t**c), t, curve, p0=start, bounds=bounds)
        except RuntimeError:
            return 0.0
        # f'(t) / f'(1), with the common factors a b c left out
        return float(1 - np.exp((c - 1) * np.log(t[-1]) - b * (t[-1] ** c - 1)))
