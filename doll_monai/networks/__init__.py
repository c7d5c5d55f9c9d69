"""Networks that the bundles declare and MONAI does not have."""

from doll_monai.networks.adapter_file import load_adapter, save_adapter
from doll_monai.networks.adapters import TUNINGS, AdaptedNetwork
from doll_monai.networks.committee import Committee, consensus_keys, member_keys
from doll_monai.networks.conv_adapter import AdapterBlock, ConvAdapter
from doll_monai.networks.initialization import start_from_backbone, start_from_network
from doll_monai.networks.parameters import (
    ParameterCount,
    count_parameters,
    describe_network,
    parameter_groups,
    trainable_parameters,
)
from doll_monai.networks.pspnet import DilatedResNet, PSPNet, PyramidPooling
from doll_monai.networks.randomize import randomize
from doll_monai.networks.scale_shift import ScaleShift
from doll_monai.networks.weights import (
    assemble_committee,
    file_hash,
    load_backbone,
    load_pretrained,
    load_weights,
    save_weights,
)

__all__ = [
    "TUNINGS",
    "AdaptedNetwork",
    "AdapterBlock",
    "Committee",
    "ConvAdapter",
    "DilatedResNet",
    "PSPNet",
    "ParameterCount",
    "PyramidPooling",
    "ScaleShift",
    "assemble_committee",
    "consensus_keys",
    "count_parameters",
    "describe_network",
    "file_hash",
    "load_adapter",
    "load_backbone",
    "load_pretrained",
    "load_weights",
    "member_keys",
    "parameter_groups",
    "randomize",
    "save_adapter",
    "save_weights",
    "start_from_backbone",
    "start_from_network",
    "trainable_parameters",
]
