"""Explaining handlers: what they add to an evaluator's output, and that they leave the networks as they were."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader, Dataset
from monai.engines import EnsembleEvaluator, SupervisedEvaluator
from monai.networks.nets import DenseNet, ResNet
from torch import nn

from doll_monai.attribution.integrated_gradients import path_gradient
from doll_monai.findings import finding_index
from doll_monai.handlers.gradcam import GradCAMHandler
from doll_monai.handlers.integrated_gradients import IntegratedGradientsHandler

EDEMA, FRACTURE, NO_FINDING = finding_index("Edema"), finding_index("Fracture"), finding_index("No Finding")


def _resnet() -> nn.Module:
    return ResNet(
        "basic", [1, 1, 1, 1], [4, 4, 8, 8], spatial_dims=2, n_input_channels=1, num_classes=14, bias_downsample=False
    )


def _densenet() -> nn.Module:
    return DenseNet(2, 1, 14, init_features=8, growth_rate=4, block_config=(2, 2))


class Squares(nn.Module):
    """Observation t is seen where the image is bright (even t), or where it is dark (odd t)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1)
        self.fc = nn.Linear(2, 14)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
            self.conv.bias.copy_(torch.tensor([0.0, 1.0]))
            self.fc.weight.zero_()
            self.fc.weight[0::2, 0] = 1.0
            self.fc.weight[1::2, 1] = 1.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.relu(self.conv(x)).mean((2, 3)))


@pytest.fixture
def records() -> list[dict[str, torch.Tensor]]:
    """Three images; the second has no positive observation."""
    labels = torch.zeros(3, 14)
    labels[0, [NO_FINDING, EDEMA]] = 1.0
    labels[2, FRACTURE] = 0.5
    labels[1, EDEMA] = -1.0
    return [{"image": torch.rand(1, 32, 32), "label": label} for label in labels]


def _evaluate(records, networks: list[nn.Module], handlers: list[Any], batch_size: int = 3) -> tuple[Engine, list]:
    """Run an evaluator over the records; returns it and the decollated outputs of all batches."""
    seen: list[dict[str, Any]] = []
    arguments = {
        "device": torch.device("cpu"),
        "val_data_loader": DataLoader(Dataset(records), batch_size=batch_size),
        "val_handlers": handlers,
    }
    if len(networks) == 1:
        evaluator = SupervisedEvaluator(network=networks[0], **arguments)
    else:
        keys = [f"pred_{number}" for number in range(len(networks))]
        evaluator = EnsembleEvaluator(networks=networks, pred_keys=keys, **arguments)
    evaluator.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: seen.extend(engine.state.output))
    evaluator.run()
    return evaluator, seen


def test_ensemble_output_gains_every_members_attribution(records) -> None:
    networks = [_resnet(), _densenet()]
    _, seen = _evaluate(records, networks, [IntegratedGradientsHandler(networks, n_steps=3)])
    for item in seen:
        for member in range(2):
            assert item[f"pred_{member}"].shape == (14,)
            assert item[f"attribution_{member}"].shape == (14, 32, 32)
            assert item[f"completeness_error_{member}"].shape == (14,)
            assert set(item[f"n_steps_{member}"].tolist()) <= {0, 3}


def test_attributions_are_those_of_the_network_in_evaluation_mode(records) -> None:
    network = _resnet()
    _, seen = _evaluate(records, [network], [IntegratedGradientsHandler([network], n_steps=4, baselines=0.2)])
    image = torch.stack([record["image"] for record in records])
    wanted = torch.stack([record["label"] for record in records]) >= 0.5
    wanted[:, NO_FINDING] = False
    expected = path_gradient(network.eval(), image, wanted, baselines=0.2, n_steps=4)
    for index, item in enumerate(seen):
        torch.testing.assert_close(torch.as_tensor(item["attribution_0"]), expected.gradient[index])
        assert torch.equal(item["completeness_error_0"].isnan(), ~wanted[index])


def test_only_positive_observations_with_a_place_are_explained(records) -> None:
    network = _densenet()
    _, seen = _evaluate(records, [network], [IntegratedGradientsHandler([network], n_steps=2)])
    explained = [item["attribution_0"].abs().sum((1, 2)).nonzero().flatten().tolist() for item in seen]
    assert explained == [[EDEMA], [], [FRACTURE]]
    _, seen = _evaluate(records, [network], [IntegratedGradientsHandler([network], n_steps=2, unlocalized=["Edema"])])
    assert seen[0]["attribution_0"].abs().sum((1, 2)).nonzero().flatten().tolist() == [NO_FINDING]


@pytest.mark.parametrize("build", [_resnet, _densenet])
def test_a_batch_without_a_positive_observation_passes(records, build) -> None:
    network = build()
    handlers = [IntegratedGradientsHandler([network], n_steps=2)]
    _, seen = _evaluate(records, [network], handlers, batch_size=1)
    assert len(seen) == 3
    assert float(seen[1]["attribution_0"].abs().sum()) == 0.0


def test_labels_are_left_as_they_are(records) -> None:
    network = _densenet()
    _, seen = _evaluate(records, [network], [IntegratedGradientsHandler([network], n_steps=1)])
    assert all(torch.equal(item["label"], record["label"]) for item, record in zip(seen, records, strict=True))


def test_median_completeness_error_of_the_run_is_a_metric(records) -> None:
    networks = [_resnet(), _densenet()]
    evaluator, seen = _evaluate(records, networks, [IntegratedGradientsHandler(networks, n_steps=3)], batch_size=2)
    errors = torch.cat([item[f"completeness_error_{member}"] for item in seen for member in range(2)])
    assert evaluator.state.metrics["completeness_error"] == pytest.approx(float(errors[~errors.isnan()].median()))


def test_modes_and_gradients_are_restored(records) -> None:
    network = _resnet()
    network.conv1.weight.requires_grad_(False)
    states: list[Any] = []

    def note(_engine: Engine) -> None:
        modes = [module.training for module in network.modules()]
        states.append((modes, [parameter.requires_grad for parameter in network.parameters()]))

    class Mixed:
        """Puts a part of the network into training mode before the explanation, notes the state after it."""

        def attach(self, engine: Engine) -> None:
            engine.add_event_handler(Events.ITERATION_STARTED, self)

        def __call__(self, engine: Engine) -> None:
            network.eval()
            network.layer2.train()
            note(engine)

    handlers = [Mixed(), IntegratedGradientsHandler([network], n_steps=2), GradCAMHandler([network], ["layer4"])]
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(records), batch_size=3),
        network=nn.Identity(),
        val_handlers=handlers,
    )
    evaluator.add_event_handler(Events.ITERATION_COMPLETED, note)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    evaluator.run()
    assert states[0] == states[1]
    assert len(set(states[0][0])) == 2
    assert len(set(states[0][1])) == 2
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_networks_are_restored_when_explaining_fails(records) -> None:
    network = _resnet().train()
    with pytest.raises(Exception, match="method must be"):
        _evaluate(records, [nn.Identity()], [IntegratedGradientsHandler([network], method="simpson")])
    assert all(module.training for module in network.modules())
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_large_grad_cam_means_important() -> None:
    image = torch.full((1, 16, 16), 0.1)
    image[:, 2:6, 9:13] = 0.9
    label = torch.zeros(14)
    label[[EDEMA, EDEMA + 1]] = 1.0
    network = Squares()
    _, seen = _evaluate([{"image": image, "label": label}], [network], [GradCAMHandler([network], ["conv"])])
    square = torch.zeros(16, 16, dtype=torch.bool)
    square[2:6, 9:13] = True
    bright, dark = sorted((EDEMA, EDEMA + 1), key=lambda channel: channel % 2)
    maps = seen[0]["gradcam_0"]
    assert maps.shape == (14, 16, 16)
    assert float(maps[bright][square].min()) > float(maps[bright][~square].max())
    assert float(maps[dark][square].max()) < float(maps[dark][~square].min())
    assert float(maps.min()) >= 0.0
    assert float(maps[[FRACTURE, NO_FINDING]].abs().sum()) == 0.0


def test_grad_cam_follows_a_network_that_is_trained_on(records) -> None:
    network = Squares()
    handler = GradCAMHandler([network], ["conv"])
    _, before = _evaluate(records, [network], [handler])
    with torch.no_grad():
        network.fc.weight.mul_(3.0)
    _, after = _evaluate(records, [network], [handler])
    torch.testing.assert_close(
        torch.as_tensor(after[0]["gradcam_0"]), torch.as_tensor(3 * before[0]["gradcam_0"]), rtol=1e-4, atol=1e-6
    )


def test_each_network_needs_a_layer() -> None:
    with pytest.raises(ValueError, match="2 networks but 1 target layers"):
        GradCAMHandler([_resnet(), _densenet()], ["layer4"])
