"""Networks that the bundles declare and MONAI does not have."""

from .adapter_file import load_adapter, save_adapter
from .adapters import TUNINGS, AdaptedNetwork
from .committee import Committee, consensus_keys, member_keys
from .conv_adapter import AdapterBlock, ConvAdapter
from .initialisation import start_from_backbone, start_from_network
from .multi_task import MultiTaskNetwork
from .parameters import ParameterCount, count_parameters, describe_network, parameter_groups, trainable_parameters
from .pspnet import DilatedResNet, PSPNet, PyramidPooling
from .randomise import randomise
from .scale_shift import ScaleShift
from .weights import assemble_committee, file_hash, load_backbone, load_pretrained, load_weights, save_weights

__all__ = [
    "TUNINGS",
    "AdaptedNetwork",
    "AdapterBlock",
    "Committee",
    "ConvAdapter",
    "DilatedResNet",
    "MultiTaskNetwork",
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
    "randomise",
    "save_adapter",
    "save_weights",
    "start_from_backbone",
    "start_from_network",
    "trainable_parameters",
]
