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


def preferred_dtype(device_type: str) -> torch.dtype:
    """Precision in which a device is fastest without loss scaling: ``bfloat16`` if it has units for it.

    A GPU without (T4, V100) emulates it, slower than ``float32``.
    """
    if device_type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)() if device_type == "cpu" else {}
    fast = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return torch.bfloat16 if fast else torch.float32


class AutocastInferer(Inferer):
    """Runs any inferer under autocast and returns ``float32``.

    MONAI's engines autocast on CUDA alone (``amp: true`` does nothing on a CPU); this wrapper serves trainers and
    evaluators on every device without a subclassed engine. The network gets channels-last plain tensors; the output
    has the input's metadata, so that transforms can be inverted. The device and precision in use are logged once.

    ``dtype`` is ``auto`` (see ``preferred_dtype``) or the name of a floating point type of ``torch``, of which
    ``float32`` switches autocast off; anything else is an ``InputError``.
    """

    @explained
    def __init__(self, inferer: Inferer | None = None, dtype: str = "auto") -> None:
        super().__init__()
        self.inferer = inferer or SimpleInferer()
        given = getattr(torch, dtype, None)
        if dtype != "auto" and not (isinstance(given, torch.dtype) and given.is_floating_point):
            raise InputError(f"dtype must be 'auto' or a torch dtype such as 'float32', not '{dtype}'.")
        self.dtype = dtype
        self._logged = False

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Run the network on (B, C, H, W); the output is ``float32``, a ``MetaTensor`` if the input is one.

        A network without gradients, that is in inference and validation, gets a copy that it may change in place.

        Raises:
            InputError: when its output is not finite.
        """
        device = inputs.device.type
        dtype = preferred_dtype(device) if self.dtype == "auto" else getattr(torch, self.dtype)
        if not self._logged:
            self._logged = True
            name = torch.cuda.get_device_name() if device == "cuda" else f"{device}, {torch.get_num_threads()} threads"
            logger.info("Computing on %s in %s.", name, str(dtype).removeprefix("torch."))
        plain = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        layout = torch.channels_last if plain.ndim == 4 else torch.contiguous_format
        learning = torch.is_grad_enabled()
        plain = plain.contiguous(memory_format=layout) if learning else plain.clone(memory_format=layout)
        with torch.autocast(device, dtype=dtype, enabled=dtype != torch.float32):
            output = self.inferer(plain, network, *args, **kwargs).float()
        if not learning and not bool(output.isfinite().all()):
            raise InputError(
                "The network's output holds values that are no numbers; train it again with a lower learning_rate, or "
                "give precision float32 if it is float16."
            )
        return MetaTensor(output).copy_meta_from(inputs) if isinstance(inputs, MetaTensor) else output
