"""Explaining handlers: what they add to an evaluator's output, and that they leave the networks as they were."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import GradientShap
from ignite.engine import Engine, Events
from monai.data import DataLoader, Dataset
from monai.engines import EnsembleEvaluator
from monai.networks.nets import DenseNet, ResNet
from monai.visualize import GradCAM
from torch import nn

from doll_monai.attribution.integrated_gradients import path_gradient
from doll_monai.findings import finding_index
from doll_monai.handlers.explanations import GradCAMHandler, GradientShapHandler, IntegratedGradientsHandler
from doll_monai.utils.errors import InputError

EDEMA, FRACTURE, NO_FINDING = finding_index("Edema"), finding_index("Fracture"), finding_index("No Finding")


def _resnet() -> nn.Module:
    return ResNet(
        "basic", [1, 1, 1, 1], [4, 4, 8, 8], spatial_dims=2, n_input_channels=1, num_classes=14, bias_downsample=False
    )


def _densenet() -> nn.Module:
    return DenseNet(2, 1, 14, init_features=8, growth_rate=4, block_config=(2, 2))


@pytest.fixture
def records() -> list[dict[str, torch.Tensor]]:
    """Three images; the second has no positive observation."""
    labels = torch.zeros(3, 14)
    labels[0, [NO_FINDING, EDEMA, FRACTURE]] = 1.0
    labels[1, EDEMA] = -1.0
    labels[2, FRACTURE] = 0.5
    return [{"image": torch.rand(1, 32, 32), "label": label} for label in labels]


def _images(records) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and the targets that are explained."""
    wanted = torch.stack([record["label"] for record in records]) >= 0.5
    wanted[:, NO_FINDING] = False
    return torch.stack([record["image"] for record in records]), wanted


def _evaluate(
    records, handler: Any, networks: list[nn.Module] | None = None, batch_size: int = 3
) -> tuple[Engine, list]:
    """Run an evaluator over the records; returns it and the decollated outputs of all batches."""
    seen: list[dict[str, Any]] = []
    networks = networks or [nn.Identity()]
    evaluator = EnsembleEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(records), batch_size=batch_size),
        networks=networks,
        pred_keys=[f"pred_{number}" for number in range(len(networks))],
        val_handlers=[handler],
    )
    evaluator.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: seen.extend(engine.state.output))
    evaluator.run()
    return evaluator, seen


def _maps(records, handler: Any, batch_size: int = 3, key: str = "attribution_0") -> torch.Tensor:
    _, seen = _evaluate(records, handler, batch_size=batch_size)
    return torch.stack([torch.as_tensor(item[key]) for item in seen])


def test_every_member_has_its_attribution_and_the_run_its_median_completeness_error(records) -> None:
    networks, options = [_resnet(), _densenet()], {"n_steps": 3, "baselines": 0.2}
    evaluator, seen = _evaluate(records, IntegratedGradientsHandler(networks, **options), networks, batch_size=2)
    image, wanted = _images(records)
    errors = []
    for member, network in enumerate(networks):
        expected = path_gradient(network.eval(), image, wanted, **options)
        errors.append(expected.completeness_error[wanted])
        for index, item in enumerate(seen):
            assert item[f"pred_{member}"].shape == (14,)
            torch.testing.assert_close(torch.as_tensor(item[f"attribution_{member}"]), expected.gradient[index])
            assert torch.equal(item[f"completeness_error_{member}"].isnan(), ~wanted[index])
            assert torch.equal(item[f"n_steps_{member}"], 3 * wanted[index])
    assert evaluator.state.metrics["completeness_error"] == pytest.approx(float(torch.cat(errors).median()), rel=1e-3)


def test_the_mean_with_the_mirrored_image_is_the_same_for_both(records) -> None:
    network = _resnet()
    mirrored = [{**record, "image": record["image"].flip(1)} for record in records]
    options = {"n_steps": 3, "mirrored": True}
    maps = _maps(records, IntegratedGradientsHandler([network], **options))
    torch.testing.assert_close(maps, _maps(mirrored, IntegratedGradientsHandler([network], **options)).flip(2))
    plain = [_maps(images, IntegratedGradientsHandler([network], n_steps=3)) for images in (records, mirrored)]
    torch.testing.assert_close(maps, (plain[0] + plain[1].flip(2)) / 2)


def test_the_next_run_sees_the_weights_that_changed_in_between(records) -> None:
    network = _resnet().eval()
    for handler, key in (
        (IntegratedGradientsHandler([network], n_steps=2), "attribution_0"),
        (GradCAMHandler([network], ["layer4"]), "gradcam_0"),
    ):
        before = _maps(records, handler, key=key)
        with torch.no_grad():
            network.fc.weight.mul_(3.0)
        torch.testing.assert_close(_maps(records, handler, key=key), 3 * before, rtol=1e-3, atol=1e-6)


each_handler = pytest.mark.parametrize(
    "build",
    [
        lambda network, **options: IntegratedGradientsHandler([network], n_steps=2, **options),
        lambda network, **options: GradCAMHandler([network], ["layer4"], "attribution", **options),
        lambda network, **options: GradientShapHandler([network], n_samples=2, **options),
    ],
)


@each_handler
@pytest.mark.parametrize("batch_size", [1, 3])
def test_only_positive_observations_with_a_place_are_explained(records, build, batch_size: int) -> None:
    network = _resnet()
    maps = _maps(records, build(network), batch_size).flatten(2).any(dim=2)
    explained = [row.nonzero().flatten().tolist() for row in maps]
    assert explained[1] == []
    assert set(explained[0]) <= {EDEMA, FRACTURE}  # a small network's Grad-CAM may be zero all over
    assert set(explained[2]) <= {FRACTURE}
    assert maps.any()
    others = _maps(records, build(network, unlocalized=["Edema", "Fracture"]), batch_size).flatten(2).any(dim=2)
    assert not others[:, [EDEMA, FRACTURE]].any()


def test_an_explanation_without_numbers_is_refused(records) -> None:
    """The root has no derivative at zero, a black image: the output is good, the label would be empty."""

    class Root(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.sqrt().flatten(1)

    network = nn.Sequential(Root(), nn.Linear(1024, 14))
    records[0]["image"] = torch.zeros(1, 32, 32)
    with pytest.raises(InputError, match="explanation of member 0 holds values that are no numbers"):
        _maps(records, IntegratedGradientsHandler([network], n_steps=2))


@each_handler
def test_the_network_is_left_as_it_was(records, build) -> None:
    network = _resnet().train()
    network.conv1.weight.requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    _maps(records, build(network))
    assert all(module.training for module in network.modules())
    assert [name for name, value in network.named_parameters() if not value.requires_grad] == ["conv1.weight"]
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_networks_are_restored_when_explaining_fails(records) -> None:
    network = _resnet().train()
    with pytest.raises(InputError, match="engine must be"):
        _maps(records, IntegratedGradientsHandler([network], engine="other"))
    assert all(module.training for module in network.modules())


def test_grad_cam_is_monais(records) -> None:
    network = _resnet().eval()
    image, wanted = _images(records)
    found = _maps(records, GradCAMHandler([network], ["layer3"]), key="gradcam_0")
    reference = GradCAM(network, "layer3", postprocessing=lambda x: x)
    for index, target in wanted.nonzero().tolist():
        expected = reference(image[index : index + 1], class_idx=target)[0, 0].detach()
        torch.testing.assert_close(found[index, target], torch.as_tensor(expected), rtol=1e-4, atol=1e-7)


def test_noise_depends_on_image_seed_and_member_alone(records) -> None:
    network, options = _densenet(), {"n_samples": 3}
    handler = GradientShapHandler([network], **options)
    together = _maps(records, handler)
    torch.manual_seed(123)
    np.random.seed(123)  # noqa: NPY002 - the global state must not matter
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    image, wanted = _images(records)
    handler.explain(0, network.eval(), image, wanted)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert torch.equal(_maps(records[::-1], handler, batch_size=2).flip(0), together)
    assert not torch.equal(_maps(records, GradientShapHandler([network], seed=1, **options)), together)
    _, seen = _evaluate(records, GradientShapHandler([network, network], **options))
    assert not torch.equal(torch.as_tensor(seen[0]["attribution_0"]), torch.as_tensor(seen[0]["attribution_1"]))
    assert set(seen[0]["n_steps_0"].tolist()) == {0, 3}


def test_gradient_shap_is_captums(records) -> None:
    """The mean of captum's own calls with many samples comes near the handler's with many samples."""
    network, image = _densenet().eval(), records[2]["image"][None]
    explainer = GradientShap(network, multiply_by_inputs=False)
    expected = explainer.attribute(image, torch.zeros_like(image), n_samples=512, stdevs=0.05, target=FRACTURE)[0, 0]
    handler = GradientShapHandler([network], n_samples=512, stdevs=0.05)
    found = _maps(records, handler)[2, FRACTURE]
    assert float(torch.corrcoef(torch.stack([found.flatten(), expected.flatten()]))[0, 1]) > 0.95


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda networks: GradientShapHandler(networks, n_samples=0), "not 0 of"),
        (lambda networks: GradientShapHandler(networks, stdevs=-0.1), "of -0.1"),
        (lambda networks: GradCAMHandler(networks, ["layer4"]), "2 networks but 1 target layers"),
        (lambda networks: GradCAMHandler(networks, ["layer4", "layer9"]), "Member 1 has no layer 'layer9'"),
    ],
)
def test_impossible_values_are_refused(build, words: str) -> None:
    with pytest.raises(InputError, match=words):
        build([_resnet(), _resnet()])
