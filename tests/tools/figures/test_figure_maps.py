"""Maps of the members of a run, computed anew from its merged configuration."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from made_figures import IMAGES, SIZE, write_json
from monai.bundle import ConfigParser

from doll_monai.networks.weights import save_weights
from doll_monai.transforms.attribution import AttributionToLabeld
from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object
from doll_tools.figures.member_maps import CONFIGURATION, member_maps
from doll_tools.report.run_folder import RunFolder

INFERENCE = Path(__file__).resolve().parents[3] / "bundles/doll_cxr_label_generation/configs/inference.json"
MEMBER = {"_target_": "DenseNet", "spatial_dims": 2, "in_channels": 1, "out_channels": 14, "block_config": [1, 1]}


@pytest.fixture
def explained(run: Path) -> RunFolder:
    """The run with a committee of two small members with random weights."""
    members = [{**MEMBER, "init_features": 8, "growth_rate": growth} for growth in (4, 6)]
    network = {"_target_": "doll_monai.networks.Committee", "members": members}
    parser = ConfigParser({"network_def": network})
    torch.manual_seed(0)
    save_weights(parser.get_parsed_content("network_def").state_dict(), run / "committee.pt")
    config = read_json_object(INFERENCE)
    config |= {"network_def": network, "checkpoint": str(run / "committee.pt"), "image_size": [SIZE, SIZE]}
    config |= {"device": "$torch.device('cpu')", "precision": "float32", "ig_method": "gausslegendre", "ig_steps": 4}
    write_json(run / CONFIGURATION, config)
    return RunFolder(run)


def test_maps_are_those_that_labels_are_made_of(explained: RunFolder) -> None:
    maps = member_maps(explained, IMAGES[:2])
    assert list(maps) == IMAGES[:2]
    for sheet in maps.values():
        assert sheet.shape == (3, 14, SIZE, SIZE)
        np.testing.assert_allclose(sheet[:, [2, 5]].mean((2, 3)), 1.0, rtol=1e-5)
        assert not sheet[:, [0, 3, 13]].any()
        np.testing.assert_allclose(sheet[2], sheet[:2].mean(0), rtol=1e-5)
        targets = torch.tensor([1.0 if channel in (2, 5) else 0.0 for channel in range(14)])
        label = AttributionToLabeld("pred")({"pred": torch.from_numpy(sheet[2]), "label": targets})["pred"]
        assert int((label[2] == 1).sum()) == round(0.1 * SIZE * SIZE)


def test_a_run_without_its_configuration_and_unknown_images_end_with_a_sentence(explained: RunFolder) -> None:
    with pytest.raises(InputError, match=r"none of .*dataset\.json"):
        member_maps(explained, ["other.png"])
    (explained.root / CONFIGURATION).unlink()
    with pytest.raises(InputError, match="run the pipeline to its end"):
        member_maps(explained, IMAGES[:1])
