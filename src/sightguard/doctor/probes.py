"""The prompts that a model is examined with: of different length, with different pictures, and nothing harmful.

Their words are known to the embedded model too.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sightguard.data.blank import blank
from sightguard.doctor.measure import NotApplicable
from sightguard.errors import ModelError
from sightguard.models.anatomy import unwrap
from sightguard.models.hooks import alone, hooked
from sightguard.types import Image, Sample

if TYPE_CHECKING:
    from typing import Any

    from torch import nn

    from sightguard.models.encode import Batch
    from sightguard.models.vlm import VLM, Around

TEXT = (
    Sample.of("how do i find the bread ?", id="short"),
    Sample.of("tell me how to move the table in the kitchen to help the baker .", id="long"),
    Sample.of("what is the clock ?", id="other"),
)


@cache
def pictured() -> tuple[Sample, ...]:
    """Return one question beside two pictures, and another beside the first."""
    white, striped = blank(), _stripes()
    return (
        Sample.of("what is this ?", white, id="white"),
        Sample.of("what is this ?", striped, id="stripes"),
        Sample.of("tell me how to move the table in the kitchen .", striped, id="stripes, long"),
    )


def side_by_side(vlm: VLM) -> list[Sample]:
    """Return two prompts of different length for one batch: with a picture and without, where a model reads such together."""
    return list(pictured()[1:]) if vlm.anatomy.crossing else [TEXT[0], pictured()[0]]


@dataclass(frozen=True, slots=True)
class Written:
    """What a model wrote: `tokens`, `rows x steps`, and the `logits` that they were chosen by, `rows x steps x vocabulary`, float32."""

    tokens: Tensor
    logits: Tensor

    def comparable(self, other: Written) -> Tensor:
        """Return at which steps both had read the same: `rows x steps`, bool."""
        same = (self.tokens == other.tokens).long().cumprod(1).bool()
        return torch.cat([torch.ones_like(same[:, :1]), same[:, :-1]], dim=1)


def written(
    vlm: VLM, samples: Sequence[Sample], *, new: int = 1, cached: bool = True, around: Around | None = None
) -> Written:
    """Return what `generate` writes for one batch: `new` tokens, the likeliest.

    Raises:
        NotApplicable: the model does not generate.
    """
    if not unwrap(vlm.model).can_generate():
        raise NotApplicable("this model does not generate")
    batch = vlm.encode(samples)
    with alone(vlm.anatomy), around(batch) if around else nullcontext(), torch.no_grad():
        out: Any = vlm.model.generate(
            **batch.inputs, do_sample=False, num_beams=1, max_new_tokens=new, min_new_tokens=new, use_cache=cached,
            output_logits=True, return_dict_in_generate=True,
        )  # fmt: skip
    return Written(out.sequences[:, -new:].cpu(), torch.stack(out.logits, dim=1).float().cpu())


def states_of_transformers(vlm: VLM, batch: Batch) -> list[Tensor]:
    """Return the output of each decoder block as others read it, `batch x tokens x hidden`: no hook of ours on a block is involved.

    All but the last are transformers' `hidden_states[l + 1]`; the last is what enters the final norm.

    Raises:
        NotApplicable: the model gives no hidden states.
        ModelError: it gives another number of them than it has blocks.
    """
    entered: list[Tensor] = []

    def keep(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        entered.append(args[0] if args else next(iter(kwargs.values())))

    with alone(vlm.anatomy), hooked(vlm.anatomy.norm, before=keep), torch.no_grad():
        output: Any = vlm.model(**batch.inputs, output_hidden_states=True, use_cache=False)
    states = output.hidden_states
    if not states:
        raise NotApplicable("this model gives no hidden_states")
    if len(states) != vlm.anatomy.depth + 1:
        raise ModelError(
            f"transformers gives {len(states)} hidden states; expected one more than the {vlm.anatomy.depth} decoder blocks"
        )
    if len(entered) != 1:
        raise ModelError(f"the final norm ran {len(entered)} times in one pass; expected once")
    return [*states[1:-1], entered[0]]


def _stripes(width: int = 336, height: int = 224, step: int = 28) -> Image:
    """Return a PNG of red and blue stripes."""
    import PIL.Image

    picture = PIL.Image.new("RGB", (width, height), (200, 30, 30))
    for left in range(0, width, 2 * step):
        picture.paste((30, 30, 200), (left, 0, left + step, height))
    data = io.BytesIO()
    picture.save(data, "PNG")
    return Image(data=data.getvalue())
