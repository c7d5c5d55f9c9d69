"""Mixed precision on whatever device the data is, a CPU included."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer, SimpleInferer

from doll_monai.utils.errors import InputError, explained

logger = logging.getLogger(__name__)

_announced: set[str] = set()


def preferred_dtype(device_type: str) -> torch.dtype:
    """Precision in which a device is fastest without loss scaling.

    ``bfloat16`` on GPUs that have it and on CPUs with AVX-512 BF16 or AMX units, ``float32`` elsewhere.
    """
    if device_type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    if device_type == "cpu":
        checks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
        return torch.bfloat16 if any(check is not None and check() for check in checks) else torch.float32
    return torch.float32


class AutocastInferer(Inferer):
    """Runs any inferer under autocast and returns ``float32``.

    MONAI's engines autocast on CUDA alone (``amp: true`` does nothing on a CPU); this wrapper serves trainers and
    evaluators on every device without a subclassed engine. The network gets channels-last plain tensors; the output
    has the input's metadata, so that transforms can be inverted. The device and precision in use are logged once.

    Args:
        inferer: the inferer to wrap; ``SimpleInferer`` by default.
        dtype: ``auto`` (see ``preferred_dtype``) or the name of a ``torch`` dtype; ``float32`` switches it off.

    Raises:
        InputError: when ``dtype`` is no floating point type of ``torch``.
    """

    @explained
    def __init__(self, inferer: Inferer | None = None, dtype: str = "auto") -> None:
        super().__init__()
        self.inferer = inferer or SimpleInferer()
        given = getattr(torch, dtype, None)
        if dtype != "auto" and not (isinstance(given, torch.dtype) and given.is_floating_point):
            raise InputError(f"dtype must be 'auto' or a torch dtype such as 'float32', not '{dtype}'.")
        self.dtype = dtype

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Run the network.

        Args:
            inputs: (B, C, H, W).
            network: the network to run.

        Returns:
            its output as ``float32``, a ``MetaTensor`` if the input is one.
        """
        device = inputs.device.type
        dtype = preferred_dtype(device) if self.dtype == "auto" else getattr(torch, self.dtype)
        _announce(device, dtype)
        plain = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        if plain.ndim == 4:
            plain = plain.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device, dtype=dtype, enabled=dtype != torch.float32):
            output = self.inferer(plain, network, *args, **kwargs).float()
        return MetaTensor(output).copy_meta_from(inputs) if isinstance(inputs, MetaTensor) else output


def _announce(device: str, dtype: torch.dtype) -> None:
    name = torch.cuda.get_device_name() if device == "cuda" else f"{device} with {torch.get_num_threads()} threads"
    text = f"Computing on {name} in {str(dtype).removeprefix('torch.')}."
    if text not in _announced:
        _announced.add(text)
        logger.info(text)
