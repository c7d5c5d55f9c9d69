"""How well attributions and labels agree with the ground truth of findings."""

from __future__ import annotations

import csv
import io
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.utils import CommonKeys

from doll_monai.data.ground_truth import GroundTruth, patient_of
from doll_monai.data.label_reader import Place
from doll_monai.findings import FINDINGS
from doll_monai.handlers.engine import output_of
from doll_monai.metrics.localization import LocationPrior, brightest, chance_iou, hit, iou_at_shares
from doll_monai.networks.committee import Committee, member_keys
from doll_monai.transforms.attribution import AttributionToLabeld
from doll_monai.utils.atomic import write_atomic

COLUMNS = ("image", "observation", "source", "share", "iou", "hit", "truth_share")
"""Columns of the table: IoU of the brightest ``share`` of the map with the ground truth, which is ``truth_share`` of
the image; hit: the maximum lies inside, of chance the probability of that."""
CONSENSUS, CHANCE, LOCATION_PRIOR = "consensus", "chance", "location_prior"
Row = Mapping[str, Any]


class PairTable(ABC):
    """Base of handlers that write a CSV file with rows for each (image, positive observation) with ground truth.

    Works on the engine's decollated, post-processed output; its targets ``label`` say which observations are positive.
    """

    def __init__(self, ground_truth: GroundTruth, columns: Sequence[str], path: str | os.PathLike) -> None:
        self.ground_truth, self.columns, self.path = ground_truth, list(columns), path
        self._rows: list[Row] = []

    @abstractmethod
    def rows(self, image: str, channel: int, mask: torch.Tensor, item: Mapping[str, Any]) -> Iterable[Row]:
        """Rows of an image (path below ``dataset_dir``), channel, ground truth (W, H) bool, post-processed output."""

    def attach(self, engine: Engine) -> None:
        """Compare after each iteration, write when the run is complete."""
        engine.add_event_handler(Events.STARTED, self._rows.clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def __call__(self, engine: Engine) -> None:
        for item in output_of(engine):
            image = item[CommonKeys.IMAGE]
            path = image.meta["filename_or_obj"]
            for channel, mask in self.ground_truth.masks(path, tuple(image.shape[1:]), Place.of(image)).items():
                if item[CommonKeys.LABEL][channel] >= 0.5:
                    self._rows.extend(self.rows(self.ground_truth.relative(path), channel, mask, item))

    def _write(self) -> None:
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, self.columns, lineterminator="\n")
        writer.writeheader()
        for row in self._rows:
            writer.writerow({key: "" if isinstance(v, float) and math.isnan(v) else v for key, v in row.items()})
        write_atomic(self.path, buffer.getvalue().encode())


class LocalizationScorer(PairTable):
    """Scores maps against ground truth at several foreground shares, and two floors that never see the image.

    The source ``chance`` is the consensus' region at a random place (``chance_iou``); ``location_prior`` is the mean
    ground truth of the finding in other patients' images (``LocationPrior``), without rows where there is none.

    Args:
        ground_truth: masks or boxes; all of them make up the prior, whichever images are scored.
        sources: name of a source in the table to its key in the post-processed output, (T, W, H) maps >= 0.
        shares: shares of the image's pixels to take as foreground.
    """

    def __init__(
        self, ground_truth: GroundTruth, sources: Mapping[str, str], shares: Sequence[float], path: str | os.PathLike
    ) -> None:
        super().__init__(ground_truth, COLUMNS, path)
        self.sources, self.shares = dict(sources), list(shares)

    @cached_property
    def _prior(self) -> LocationPrior:
        prior, side = LocationPrior(), LocationPrior.SIDE
        for image in self.ground_truth.images:
            for channel, mask in self.ground_truth.masks(self.ground_truth.dataset_dir / image, (side, side)).items():
                prior.add(patient_of(image), channel, mask.numpy())
        return prior

    def rows(self, image: str, channel: int, mask: torch.Tensor, item: Mapping[str, Any]) -> Iterable[Row]:
        region = mask.numpy()
        covered = round(float(region.mean()), 5)
        maps = {name: np.asarray(item[key][channel].cpu()) for name, key in self.sources.items()}
        prior = self._prior.map(patient_of(image), channel, region.shape)
        scores: dict[str, tuple[list[float], float]] = {
            name: (iou_at_shares(values, region, self.shares), int(hit(values, region)))
            for name, values in (maps if prior is None else {**maps, LOCATION_PRIOR: prior}).items()
        }
        if CONSENSUS in maps:
            regions = [brightest(maps[CONSENSUS], share) for share in self.shares]
            scores[CHANCE] = [chance_iou(found, region) for found in regions], covered
        for source, (overlaps, inside) in scores.items():
            for share, iou in zip(self.shares, overlaps, strict=True):
                row = (image, FINDINGS[channel], source, share, round(iou, 5), inside, covered)
                yield dict(zip(COLUMNS, row, strict=True))


def label_shares(foreground_share: float | Mapping[str, float]) -> list[float]:
    """The label's own foreground share of each of the 14 observations, as ``AttributionToLabeld`` reads it."""
    return AttributionToLabeld("pred", foreground_share=foreground_share, ignore_share=0.0).foreground


def with_label_shares(shares: Sequence[float], foreground_share: float | Mapping[str, float]) -> list[float]:
    """The shares to score, ascending, with the label's own among them."""
    return sorted({*map(float, shares), *label_shares(foreground_share)})


def localization_sources(committee: Committee) -> dict[str, str]:
    """The maps that are compared, name to key: the consensus, each member alone, and Grad-CAM's consensus."""
    members = {f"member_{number}": key for number, key in enumerate(member_keys("attribution", committee))}
    return {CONSENSUS: CONSENSUS, **members, "gradcam": "gradcam"}
