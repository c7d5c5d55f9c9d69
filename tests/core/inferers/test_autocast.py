"""Mixed precision is the inferer's business alone: plain float32 in, float32 out."""

from __future__ import annotations

import logging

import pytest
import torch
from monai.data import MetaTensor, decollate_batch, list_data_collate
from monai.inferers import SimpleInferer, SlidingWindowInferer
from monai.transforms import Invertd, Resized
from torch import nn

from doll_monai.inferers import autocast
from doll_monai.inferers.autocast import AutocastInferer
from doll_monai.utils.errors import InputError


class Spy(nn.Module):
    """Remembers what reached the network and what its convolution computed in."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)
        self.seen: list[torch.Tensor] = []
        self.computed: list[torch.dtype] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        self.seen.append(x)
        self.computed.append(y.dtype)
        return y


def test_float32_gives_exactly_what_the_inferer_gives_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    network, x, inferer = Spy(), torch.rand(2, 1, 8, 8), AutocastInferer(dtype="float32")
    with caplog.at_level(logging.INFO, logger="doll_monai"):
        for _ in range(2):
            assert torch.equal(inferer(x, network), SimpleInferer()(x, network))
    assert network.computed == [torch.float32] * 4
    assert [record.getMessage().endswith("in float32.") for record in caplog.records] == [True]


def test_bfloat16_computes_in_bfloat16_and_returns_float32() -> None:
    network, x = Spy(), torch.rand(2, 1, 8, 8)
    output = AutocastInferer(dtype="bfloat16")(x, network)
    assert network.computed == [torch.bfloat16]
    assert output.dtype == torch.float32
    torch.testing.assert_close(output, network(x), rtol=0.05, atol=0.05)
    assert not torch.is_autocast_enabled("cpu")


def test_automatic_precision_is_the_devices_preferred_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        monkeypatch.setattr(autocast, "preferred_dtype", lambda _device, dtype=dtype: dtype)
        network = Spy()
        AutocastInferer()(torch.rand(1, 1, 8, 8), network)
        assert network.computed == [dtype]


@pytest.mark.parametrize(("emulated", "dtype"), [(False, torch.bfloat16), (True, torch.float32)])
def test_a_gpu_that_only_emulates_bfloat16_computes_in_float32(emulated: bool, dtype, monkeypatch) -> None:
    def supported(including_emulation: bool = True) -> bool:
        return including_emulation or not emulated

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert autocast.preferred_dtype("cuda") == dtype


@torch.no_grad()
def test_a_network_that_works_in_place_leaves_the_image_as_it_was() -> None:
    image = torch.rand(2, 1, 8, 8)
    before = image.clone()
    output = AutocastInferer(dtype="float32")(image, lambda x: x.sub_(0.5).div_(0.2))
    assert torch.equal(image, before)
    torch.testing.assert_close(output, (before - 0.5) / 0.2)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_output_that_is_no_number_is_refused_where_nothing_is_learnt(value: float) -> None:
    inferer, image = AutocastInferer(dtype="float32"), torch.rand(2, 1, 8, 8)
    assert inferer(image, lambda x: x * value).shape == image.shape
    with torch.no_grad(), pytest.raises(InputError, match="output holds values that are no numbers; train it again"):
        inferer(image, lambda x: torch.where(x == x.max(), value, x))


def test_output_keeps_the_images_metadata_so_that_its_resizing_can_be_undone() -> None:
    image = MetaTensor(torch.rand(1, 9, 7), meta={"filename_or_obj": "image.png"})
    resize = Resized("image", (8, 8))
    batch, network = list_data_collate([resize({"image": image}) for _ in range(2)]), Spy()
    output = AutocastInferer(dtype="float32")(batch["image"], network)
    assert type(network.seen[0]) is torch.Tensor
    assert network.seen[0].is_contiguous(memory_format=torch.channels_last)
    for item in decollate_batch({"image": batch["image"], "pred": output}):
        assert item["pred"].meta["filename_or_obj"] == "image.png"
        inverse = Invertd("pred", resize, orig_keys="image")(item)
        assert inverse["pred"].shape == (2, 9, 7)


def test_any_inferer_can_be_wrapped() -> None:
    network = Spy()
    output = AutocastInferer(SlidingWindowInferer((8, 8), sw_batch_size=4), dtype="float32")(
        torch.rand(1, 1, 16, 16), network
    )
    assert output.shape == (1, 2, 16, 16)
    assert all(x.shape[-2:] == (8, 8) for x in network.seen)


@pytest.mark.parametrize("dtype", ["half-precision", "nn", "int64"])
def test_what_is_no_floating_point_type_is_refused(dtype: str) -> None:
    with pytest.raises(ValueError, match="dtype must be"):
        AutocastInferer(dtype=dtype)
