"""Loads a model with weights of 4 or 8 bits, by bitsandbytes or by any configuration that transformers takes."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Literal

import torch

from sightguard.errors import ModelError, UnknownName, UsageError

Bits = Literal["4bit", "8bit"]
BITS: tuple[Bits, ...] = ("4bit", "8bit")


def configuration(bits: Bits | None, given: Any, place: torch.device, compute: torch.dtype | str) -> Any:
    """Return the `quantization_config` for transformers, or None.

    Args:
        bits: "4bit" (NF4) or "8bit", both by bitsandbytes.
        given: a configuration object of transformers, passed on as it is.
        place: where the model will run.
        compute: what 4-bit weights are turned into for each product; "auto" is bfloat16.

    Raises:
        UsageError: both were given, or bitsandbytes is asked for without an accelerator.
        UnknownName: other bits.
        ModelError: bitsandbytes is not installed.
    """
    if bits is None:
        return given
    if given is not None:
        raise UsageError("quantization and quantization_config were both given; leave one out")
    if bits not in BITS:
        raise UnknownName("quantization", bits, BITS, "For other ways pass quantization_config=.")
    if find_spec("bitsandbytes") is None:
        raise ModelError(
            f"quantization={bits!r} needs the package 'bitsandbytes'. Install it: pip install bitsandbytes"
        )
    if place.type == "cpu":
        raise UsageError(
            f"quantization={bits!r} needs an accelerator, and the model would run on the CPU. Leave it out here, or pass device="
        )
    from transformers import BitsAndBytesConfig

    if bits == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    dtype = compute if isinstance(compute, torch.dtype) else torch.bfloat16
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
