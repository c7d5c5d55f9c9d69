"""Mean AUROC over the observations that can have one."""

from __future__ import annotations

import math

import pytest
import torch
from ignite.engine import Engine
from sklearn.metrics import roc_auc_score

from doll_monai.findings import FINDINGS
from doll_monai.metrics.auroc import MeanAUROC, auroc_by_observation


@pytest.fixture
def cases() -> tuple[torch.Tensor, torch.Tensor]:
    """80 images with ties and ignored targets; one class only in the first two observations, nothing in the third."""
    prediction = torch.randint(0, 12, (80, 14)) / 12
    target = (torch.rand(80, 14) < 0.2 + 0.6 * prediction).float()
    target[torch.rand(80, 14) < 0.3] = -1.0
    target[:, 0] = 0.0
    target[:, 1] = torch.where(target[:, 1] >= 0, 1.0, -1.0)
    target[:, 2] = -1.0
    return prediction, target


def test_agrees_with_scikit_learn(cases) -> None:
    prediction, target = cases
    values = auroc_by_observation(prediction, target)
    assert list(values) == list(FINDINGS[3:])
    for channel, name in enumerate(FINDINGS[3:], start=3):
        known = target[:, channel] >= 0
        expected = roc_auc_score(target[known, channel].numpy(), prediction[known, channel].numpy())
        assert values[name] == pytest.approx(expected, abs=1e-6)


def _run(batches) -> dict[str, float]:
    """An engine whose output is decollated, as MONAI's evaluators put it out."""
    engine = Engine(lambda _engine, batch: (list(batch[0]), list(batch[1])))
    MeanAUROC().attach(engine, "auroc")
    engine.run(batches)
    return dict(engine.state.metrics)


def test_engine_gets_mean_each_observation_and_their_number(cases) -> None:
    prediction, target = cases
    metrics = _run(list(zip(prediction.split(32), target.split(32), strict=True)))
    values = auroc_by_observation(prediction, target)
    assert metrics["auroc"] == pytest.approx(sum(values.values()) / len(values))
    assert metrics["auroc_observations"] == 11
    assert metrics["auroc_Pleural_Effusion"] == pytest.approx(values["Pleural Effusion"])
    assert set(metrics) == {"auroc", "auroc_observations"} | {f"auroc_{n.replace(' ', '_')}" for n in FINDINGS[3:]}


def test_without_two_classes_the_mean_is_nan() -> None:
    metrics = _run([(torch.rand(4, 14), torch.zeros(4, 14))])
    assert math.isnan(metrics["auroc"])
    assert metrics["auroc_observations"] == 0
