"""A tiny random model of every family, with a processor made offline: the real architecture, processor and token layout.

Each maker returns a model and its processor. Vocabulary, widths and pictures are small; what is peculiar to a family (tiles, windows,
grids, cross-attention, experts, state-space blocks) is there.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.families import gemmas, idefics, llavas, qwens
from tests.families.made import Made

MAKERS: dict[str, Callable[[], Made]] = {
    "llava": llavas.llava,
    "llava_next": llavas.llava_next,
    "llava_onevision": llavas.llava_onevision,
    "vipllava": llavas.vipllava,
    "pixtral": llavas.pixtral,
    "mistral3": llavas.mistral3,
    "internvl": llavas.internvl,
    "aya_vision": llavas.aya_vision,
    "deepseek_vl": llavas.deepseek_vl,
    "ovis2": llavas.ovis2,
    "qwen2_vl": qwens.qwen2_vl,
    "qwen2_5_vl": qwens.qwen2_5_vl,
    "qwen3_vl": qwens.qwen3_vl,
    "qwen3_vl_moe": qwens.qwen3_vl_moe,
    "qwen3_5": qwens.qwen3_5,
    "qwen3_5_moe": qwens.qwen3_5_moe,
    "glm4v": qwens.glm4v,
    "minicpmv4_6": qwens.minicpmv4_6,
    "gemma3": gemmas.gemma3,
    "gemma4": gemmas.gemma4,
    "paligemma": gemmas.paligemma,
    "idefics2": idefics.idefics2,
    "idefics3": idefics.idefics3,
    "smolvlm": idefics.smolvlm,
    "mllama": idefics.mllama,
}
