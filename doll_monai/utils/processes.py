"""Which of several processes this is, as ``torchrun`` says it in the environment, and training with all of them."""

from __future__ import annotations

import os

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from doll_monai.utils.errors import InputError


def process_count() -> int:
    """How many processes share the work (``WORLD_SIZE``); an ``InputError`` where it is no number from 1 on."""
    return _number("WORLD_SIZE", 1, 1)


def process_rank() -> int:
    """This process's number (``RANK``); an ``InputError`` where it is no number below ``process_count()``."""
    rank, count = _number("RANK", 0, 0), process_count()
    if rank >= count:
        raise InputError(f"RANK is {rank} but WORLD_SIZE is {count}; ranks are counted from 0 to WORLD_SIZE - 1.")
    return rank


def process_device() -> torch.device:
    """The GPU of this process (``LOCAL_RANK``; with more processes than GPUs they take turns), or the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", _number("LOCAL_RANK", 0, 0) % torch.cuda.device_count())


def join_processes(device: torch.device) -> None:
    """Join the other processes of a training, by NCCL on GPUs, by Gloo on CPUs; ``torchrun`` must have started it."""
    if "RANK" not in os.environ:
        raise InputError("Start several processes with torchrun --standalone --nproc_per_node=N -m monai.bundle run …")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")


def leave_processes() -> None:
    """Leave the other processes, as the last thing that a training does."""
    if dist.is_initialized():
        dist.destroy_process_group()


def share_network(network: nn.Module, device: torch.device) -> nn.Module:
    """The network whose gradients are averaged over all processes; on GPUs BatchNorm's statistics are, too."""
    if device.type != "cuda":
        return DistributedDataParallel(network)
    return DistributedDataParallel(nn.SyncBatchNorm.convert_sync_batchnorm(network), device_ids=[device])


def _number(name: str, default: int, least: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdecimal() or int(text) < least:
        raise InputError(f"The environment variable {name} must be a number from {least} on, not '{text}'.")
    return int(text)
