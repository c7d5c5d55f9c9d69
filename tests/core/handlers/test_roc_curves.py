"""ROC curves agree with the metric, and say which observations they are of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from PIL import Image
from sklearn.metrics import auc

from doll_monai.findings import FINDINGS
from doll_monai.handlers.roc_curves import RocCurves, roc_curves
from doll_monai.metrics.auroc import auroc_by_observation


@pytest.fixture
def scored() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    target = (generator.random((60, 14)) < 0.4).astype(np.float32)
    target[::7] = -1
    target[:, 3] = np.where(target[:, 3] >= 0, 1, -1)
    target[:, 5] = -1
    return generator.random((60, 14)).astype(np.float32) + 0.3 * target, target


def test_the_area_is_the_metric_of_the_same_observations(scored: tuple[np.ndarray, np.ndarray]) -> None:
    prediction, target = scored
    metric = auroc_by_observation(torch.tensor(prediction), torch.tensor(target))
    curves = roc_curves(prediction, target)
    assert list(curves) == list(metric) == [name for name in FINDINGS if name not in (FINDINGS[3], FINDINGS[5])]
    for name, (false, true, positives) in curves.items():
        assert auc(false, true) == pytest.approx(metric[name], abs=1e-6)
        assert positives == (target[:, FINDINGS.index(name)] == 1).sum()


def _evaluate(path: Path, prediction: np.ndarray, target: np.ndarray) -> None:
    rows = [{"pred": torch.tensor(p), "label": torch.tensor(t)} for p, t in zip(prediction, target, strict=True)]
    engine = Engine(lambda _engine, batch: batch)
    RocCurves(path).attach(engine)
    engine.run([rows[:20], rows[20:]])


def test_the_picture_is_written(scored: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    _evaluate(tmp_path / "roc.png", *scored)
    picture = np.asarray(Image.open(tmp_path / "roc.png").convert("RGB"))
    assert min(picture.shape[:2]) > 500
    assert (np.abs(picture.astype(int) - (0, 114, 178)).max(-1) < 12).any()


def test_one_class_has_no_curve(scored: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    prediction, target = scored
    _evaluate(tmp_path / "roc.png", prediction, np.zeros_like(target))
    assert not (tmp_path / "roc.png").exists()
