"""Averaging over superpixels: constant in each, its mean kept, everything else left alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from doll_monai.transforms.superpixels import SuperpixelAveraged
from doll_monai.utils.errors import InputError

W, H = 48, 32


@pytest.fixture
def image() -> torch.Tensor:
    """Dark on the left, bright on the right, with a disc and a little noise."""
    x, y = torch.meshgrid(torch.arange(W), torch.arange(H), indexing="ij")
    grey = 0.2 + 0.5 * (x > W // 2) + 0.3 * ((x - 12) ** 2 + (y - 15) ** 2 < 40)
    return (grey + 0.02 * torch.rand(W, H))[None]


def test_values_are_the_means_of_the_superpixels(image) -> None:
    transform = SuperpixelAveraged(["a", "b"], n_segments=20)
    data = {"a": torch.randn(3, W, H), "b": torch.randn(3, W, H), "image": image}
    result, segments = transform(data), transform.segments(image)
    assert 5 < len(np.unique(segments)) < 60
    for key in ("a", "b"):
        for segment in np.unique(segments):
            inside = torch.as_tensor(segments == segment)
            mean = data[key][:, inside].mean(dim=1, keepdim=True)
            torch.testing.assert_close(result[key][:, inside], mean.expand(-1, int(inside.sum())))
    assert result["image"] is image


def test_superpixels_follow_the_edges_of_the_image(image) -> None:
    bright = (image > 0.45).float()
    averaged = SuperpixelAveraged("a", n_segments=40, compactness=0.05)({"a": bright, "image": image})["a"]
    assert float((averaged - bright).abs().mean()) < 0.02


def test_a_channel_that_was_not_explained_stays_zero_and_the_input_as_it_was(image) -> None:
    gradient = torch.randn(4, W, H)
    gradient[[0, 2]] = 0.0
    before = gradient.clone()
    result = SuperpixelAveraged("a", n_segments=20)({"a": gradient, "image": image})["a"]
    assert result.any(dim=2).any(dim=1).tolist() == [False, True, False, True]
    assert torch.equal(gradient, before)
    assert result.dtype == torch.float32


@pytest.mark.parametrize("grey", [0.0, 0.5])
def test_an_image_of_one_grey_is_cut_into_squares(grey: float) -> None:
    data = {"a": torch.randn(1, W, H), "image": torch.full((1, W, H), grey)}
    result = SuperpixelAveraged("a", n_segments=6)(data)["a"]
    assert 1 < len(result.unique()) < 20
    torch.testing.assert_close(result.mean(), data["a"].mean())


def test_the_same_image_gives_the_same_bytes_and_metadata_does_not_matter(image) -> None:
    gradient = torch.randn(2, W, H)
    transform = SuperpixelAveraged("a", n_segments=30)
    first = transform({"a": gradient, "image": image})["a"]
    again = transform({"a": MetaTensor(gradient), "image": MetaTensor(image)})["a"]
    assert torch.equal(first, torch.as_tensor(again))


@pytest.mark.parametrize(("arguments", "word"), [({"n_segments": -1}, "number"), ({"compactness": 0.0}, "compactness")])
def test_values_out_of_range_are_refused(arguments, word: str) -> None:
    with pytest.raises(InputError, match=word):
        SuperpixelAveraged("a", **arguments)
