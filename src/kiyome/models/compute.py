"""Where a network computes, and in which precision."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from kiyome.errors import InputError
from kiyome.models.depthwise import make_depthwise_fast

Precision = Literal["auto", "float32", "bf16", "fp16"]


@dataclass(frozen=True, kw_only=True)
class Compute:
    """A device and a precision; made by `choose_compute`."""

    device: torch.device
    precision: Literal["float32", "bf16", "fp16"]

    def autocast(self) -> AbstractContextManager[Any]:
        """Lower precision inside the block, where it is safe."""
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.precision)
        context: AbstractContextManager[Any] = torch.autocast(
            self.device.type, dtype=dtype, enabled=dtype is not None
        )
        return context

    def ready(self, module: nn.Module, *, channels_last: bool = True) -> nn.Module:
        """The same module on the device; in bf16 on a CPU its depthwise convolutions take fast gradients."""
        module.to(self.device)
        if channels_last:
            module.to(memory_format=torch.channels_last)
        if self.device.type == "cpu" and self.precision == "bf16":
            make_depthwise_fast(module)
        return module


def choose_compute(precision: Precision = "auto") -> Compute:
    """A GPU where there is one, else the CPU; "auto" is bf16 where the device computes in it, else float32.

    Raises
    ------
    InputError
        For fp16 on a CPU, which has no use for it.

    Examples
    --------
    >>> choose_compute("float32").precision
    'float32'
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if precision == "fp16" and device.type == "cpu":
        raise InputError("fp16 needs a GPU, and there is none.", remedy="Set precision=bf16 or auto.")
    if precision == "auto":
        return Compute(device=device, precision="bf16" if _has_bf16(device) else "float32")
    return Compute(device=device, precision=precision)


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        major: int = torch.cuda.get_device_capability(device)[0]
        return major >= 8  # before, it is emulated
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16"))
