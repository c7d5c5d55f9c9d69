"""Attributions are kept in a finding's region of the body: organs, grown, a part of their height, or their rim."""

import numpy as np
import pytest
import torch

from doll_monai.findings import FINDINGS, finding_index
from doll_monai.transforms import RestrictToRegiond
from doll_monai.transforms.regions import region_of
from doll_monai.utils.errors import InputError

ORGANS = ("lungs", "heart")


@pytest.fixture
def item():
    """Lungs in the left half, a heart in the lower right quarter; attributions of 1 everywhere."""
    organs = torch.zeros(2, 40, 40)
    organs[0, 5:15, 4:36] = 1
    organs[1, 25:35, 25:35] = 1
    return {"pred": torch.ones(len(FINDINGS), 40, 40), "organs": organs}


def test_each_finding_is_restricted_to_its_own_organs(item):
    regions = {"Cardiomegaly": {"organs": ["heart"]}, "Edema": {"organs": ["lungs", "heart"]}}
    result = RestrictToRegiond("pred", regions, ORGANS, floor=0.25)(item)["pred"]
    heart, both = item["organs"][1] > 0, item["organs"].any(dim=0)
    assert torch.equal(result[finding_index("Cardiomegaly")], torch.where(heart, 1.0, 0.25))
    assert torch.equal(result[finding_index("Edema")], torch.where(both, 1.0, 0.25))
    assert torch.equal(result[finding_index("Fracture")], item["pred"][finding_index("Fracture")])


def test_a_finding_keeps_its_attribution_where_its_organ_is_not_found(item):
    item["organs"][1] = 0
    restrict = RestrictToRegiond("pred", {"Cardiomegaly": {"organs": ["heart"]}}, ORGANS)
    assert torch.equal(restrict(item)["pred"], item["pred"])


def test_dilation_is_a_share_of_the_width():
    mask = np.zeros((100, 60), dtype=bool)
    mask[50, 30] = True
    grown = region_of(mask, dilation=0.1)
    across, down = np.nonzero(grown)
    assert (across.min(), across.max(), down.min(), down.max()) == (40, 60, 20, 40)
    assert abs(grown.sum() - np.pi * 10**2) < 0.05 * np.pi * 10**2


def test_rows_and_rim_are_parts_of_an_organ():
    mask = np.zeros((40, 40), dtype=bool)
    mask[10:30, 8:28] = True
    upper = region_of(mask, rows=(0, 0.5))
    assert upper[:, :18].sum() == mask[:, :18].sum()
    assert not upper[:, 19:].any()
    rim = region_of(mask, rim=0.05)
    assert rim.sum() == 20 * 20 - 16 * 16


@pytest.mark.parametrize(
    ("regions", "floor", "message"),
    [
        ({"Edema": {"organs": ["spleen"]}}, 0.1, "lungs, heart"),
        ({"Edema": {}}, 0.1, "needs organs"),
        ({"Edema": {"organs": ["lungs"], "dilate": 1}}, 0.1, "dilate"),
        ({}, 1.5, r"\[0, 1\]"),
    ],
)
def test_mistakes_get_a_sentence(regions, floor, message):
    with pytest.raises(InputError, match=message):
        RestrictToRegiond("pred", regions, ORGANS, floor=floor)
