"""Networks that the bundles declare and MONAI does not have."""

from .adapters import AdaptedNetwork, AdapterBlock, ConvAdapter
from .committee import Committee, consensus_keys, member_keys
from .parameters import parameter_groups, trainable_parameters
from .pspnet import DilatedResNet, PSPNet, PyramidPooling
from .randomise import randomise
from .weights import assemble_committee, file_hash, load_backbone, load_pretrained, load_weights, save_weights

__all__ = [
    "AdaptedNetwork",
    "AdapterBlock",
    "Committee",
    "ConvAdapter",
    "DilatedResNet",
    "PSPNet",
    "PyramidPooling",
    "assemble_committee",
    "consensus_keys",
    "file_hash",
    "load_backbone",
    "load_pretrained",
    "load_weights",
    "member_keys",
    "parameter_groups",
    "randomise",
    "save_weights",
    "trainable_parameters",
]
