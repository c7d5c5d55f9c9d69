"""Which part of a named checkpoint is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from doll_monai.networks.adapters import AdaptedNetwork
from doll_monai.networks.committee import Committee
from doll_monai.networks.efficientnet_lite import EfficientNetLite
from doll_monai.networks.weights import save_weights
from doll_tools.compare.initializations import BACKBONE, NETWORK, Initialization, parse_initializations
from small_pspnet import small_pspnet, small_resnet

SOURCES = {
    "resnet": (small_resnet, BACKBONE),
    "efficientnet": (lambda: EfficientNetLite(num_classes=14), BACKBONE),
    "committee": (lambda: Committee([small_resnet()]), BACKBONE),
    "network": (small_pspnet, NETWORK),
    "trained_as_a_whole": (lambda: AdaptedNetwork(small_pspnet(), tuning="full"), NETWORK),
}


@pytest.mark.parametrize("source", SOURCES)
def test_of_a_classifier_it_is_the_backbone_of_a_network_all_but_the_head(source: str, tmp_path: Path) -> None:
    build, part = SOURCES[source]
    path = tmp_path / "source.pt"
    save_weights(build().state_dict(), path)
    named = [f"other={path}", f"other_backbone={path}"]
    found = parse_initializations(named, None, None)
    assert found == {"other": Initialization(part, path), "other_backbone": Initialization(BACKBONE, path)}
