"""Members' maps: which are kept, and how large."""

from __future__ import annotations

import pytest

from doll_monai.data.label_maps import grid, kept_images


def test_the_kept_images_do_not_depend_on_their_order() -> None:
    images = [f"patient{number}/view1_frontal.jpg" for number in range(50)]
    kept = kept_images(images, 7)
    assert len(kept) == 7
    assert kept == kept_images(reversed(images), 7)
    assert kept < kept_images(images, 8)
    assert kept_images(images, 0) == frozenset()


@pytest.mark.parametrize(("size", "expected"), [((224, 224), (64, 64)), ((100, 200), (32, 64)), ((20, 10), (20, 10))])
def test_the_grid_keeps_proportions_and_never_enlarges(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert grid(size) == expected
