"""Pictures side by side, as the notebooks show them."""

from __future__ import annotations

import numpy as np
import pytest

from doll_tools.tutorial import image_grid

IMAGE = np.zeros((6, 4, 3), np.uint8)


def test_a_row_a_image_and_a_column_a_picture() -> None:
    figure = image_grid([("Edema", [IMAGE, IMAGE]), ("Edema", [IMAGE, IMAGE])], ["image", "label"], "synthetic")
    assert len(figure.axes) == 4
    assert [place.get_title() for place in figure.axes] == ["image", "label", "", ""]
    assert [place.get_ylabel() for place in figure.axes] == ["Edema", "", "Edema", ""]
    assert figure.get_supxlabel() == "synthetic"


def test_a_map_is_drawn_from_its_least_to_its_largest() -> None:
    figure = image_grid([("", [np.array([[-2.0, 0.0], [1.0, 3.0]])])], ["map"])
    (image,) = figure.axes[0].images
    assert image.get_clim() == (-2.0, 3.0)
    assert image.get_cmap().name == "cividis"


def test_a_row_with_a_picture_too_few_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        image_grid([("", [IMAGE])], ["image", "label"])
