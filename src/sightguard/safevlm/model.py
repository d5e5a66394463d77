"""SafeVLM / PSA-VLM around any vision-language model: look at the picture first, then answer by the verdict.

    safe = SafeVLM.from_pretrained("run/model", VLM.load("pocket"))
    safe([sample])[0].risk, .rule, .text

"Safety Alignment for Vision Language Models", arXiv 2405.13581; "PSA-VLM", arXiv 2411.11543.

For a request with a picture: vision tower -> safety projector -> safety head gives a verdict; the policy turns it into a rule, whose hint
stands behind the question; the model answers, with safety tokens before each picture and, after stage 2, with a LoRA adapter.
Of a conversation with several turns the head reads each of the user's, or of every role where the policy says `turns: all`, and the
riskiest reading decides (`sightguard.safevlm.readings`).
A request without a picture has no tokens and no verdict, the plain model answers it, and its rule is "no picture".

Differences from the released code: the verdict is a joint probability over pairs that go together, with calibrated temperatures, in place
of two argmaxes; a conversation is read turn by turn, where the papers know single turns; the adapter acts where there is a picture only;
`query="pooled"` is offered beside the released reading; the head sees several pictures and tiles; hints and policy are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import torch
from torch import Tensor

from sightguard.data.taxonomy import Taxonomy
from sightguard.errors import UsageError
from sightguard.models.additions import Adapter, adapted, extra_rows
from sightguard.safevlm.features import Question, first_token, picture_features, question, questions_of
from sightguard.safevlm.folded import folded
from sightguard.safevlm.modules import SafetyModules
from sightguard.safevlm.policy import Policy, Rule
from sightguard.safevlm.readings import readings, riskiest
from sightguard.safevlm.tokens import refuse_signs, with_tokens
from sightguard.safevlm.verdict import joint, risks, stacked
from sightguard.types import Response, Risk, Role, Sample

if TYPE_CHECKING:
    from sightguard.hub import Push
    from sightguard.models.encode import Batch
    from sightguard.models.vlm import VLM, Around

    Within = Callable[[VLM], Around]

NO_PICTURE = Rule("no picture", "answer")


@dataclass(frozen=True, slots=True)
class Looked:
    """A request after the head has looked at it."""

    asked: Sample
    """What the model is asked: the request, with the hint of the rule behind it."""
    risk: Risk | None
    """None where there is no picture, or where nobody looks."""
    rule: str | None
    hinted: bool | None = None
    """Whether the policy put a hint into the prompt; None where nobody looks."""


@dataclass(frozen=True)
class SafeVLM:
    """A `Generate` that judges what it is asked before the model answers. The model itself is not changed.

    Args:
        vlm: the plain model.
        modules: trained safety modules of its width.
        taxonomy: what the classes of the head mean.
        policy: what is done about each verdict; `replace(safe, policy=...)` needs no reload.
        adapter: what stage 2 trained, if it was run.
        temperatures: of type and level, fitted on held-out data.
        tokens: put safety tokens before pictures.
        hints: let the policy's hints into the prompt.
        name: how responses and reports call it.
    """

    vlm: VLM
    modules: SafetyModules
    taxonomy: Taxonomy
    policy: Policy
    adapter: Adapter | None = None
    temperatures: tuple[float, float] = (1.0, 1.0)
    tokens: bool = True
    hints: bool = True
    name: str = "safevlm"
    speaking: VLM = field(init=False, repr=False)
    """The same model behind a processor that writes safety tokens."""
    first_id: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        shape, anatomy = self.modules.shape, self.vlm.anatomy
        if shape.hidden != anatomy.hidden_size:
            raise UsageError(
                f"these safety modules are for a language model of width {shape.hidden}; this one has {anatomy.hidden_size}. "
                "Train them on this model (`sightguard train`)."
            )
        if (shape.types, shape.levels) != (len(self.taxonomy.types), len(self.taxonomy.levels)):
            raise UsageError(
                f"the safety head tells {shape.types} types and {shape.levels} levels apart; the taxonomy {self.taxonomy.name!r} has "
                f"{len(self.taxonomy.types)} and {len(self.taxonomy.levels)}. Use the taxonomy that it was trained with."
            )
        processor, first = with_tokens(self.vlm.processor, shape.tokens)
        object.__setattr__(self, "speaking", replace(self.vlm, processor=processor))
        object.__setattr__(self, "first_id", first)
        self.modules.to(self.vlm.device).eval()

    @staticmethod
    def from_pretrained(source: str | Path, vlm: VLM, **parts: Any) -> SafeVLM:
        """Read a trained SafeVLM from a folder, or from the hub by its id and `revision`; see `sightguard.safevlm.artefact.load`."""
        from sightguard.safevlm.artefact import load

        return load(source, vlm, **parts)

    def save_pretrained(
        self,
        folder: str | Path,
        *,
        push_to_hub: bool = False,
        repo_id: str | None = None,
        hub: Push | None = None,
        **about: Any,
    ) -> Path:
        """Write it as a folder; see `sightguard.safevlm.artefact.save`.

        With `push_to_hub` it is put on the hub too, as `repo_id` or under the folder's name; `hub` holds options of `sightguard.hub.push`.
        """
        from sightguard.hub import saved
        from sightguard.safevlm.artefact import save

        return saved(save(self, folder, **about), repo_id, push_to_hub=push_to_hub, **(hub or {}))

    def push_to_hub(self, repo_id: str, *, about: Mapping[str, Any] | None = None, **push: Unpack[Push]) -> str:
        """Put it on the hub as `repo_id`; returns the address of the commit.

        Args:
            repo_id: "owner/name", or a name of your own.
            about: options of `save_pretrained`: `half`, `policy`, `measured`, `training`, `license`.
            push: see `sightguard.hub.push`.
        """
        from sightguard.hub import pushed

        return pushed(lambda place: self.save_pretrained(place, **(about or {})), repo_id, **push)

    @cached_property
    def opening(self) -> int:
        """Id of the token with which every prompt begins."""
        return first_token(self.vlm, Sample.of("?"))

    @torch.no_grad()
    def logits(self, samples: Sequence[Sample]) -> tuple[Tensor, Tensor]:
        """Return the head's logits for requests with pictures, `n x types` and `n x levels`, float32 on the CPU; no decoder runs.

        Of several turns of the user all words ask together, as in training.
        """
        asked = question(self.vlm, samples, self.opening)
        return self._asked(picture_features(self.vlm, samples), asked)

    @property
    def reads_words(self) -> bool:
        """Whether what is said takes part in a verdict; with `query="first"` the pictures alone decide."""
        return self.modules.shape.query == "pooled"

    def read(self, sample: Sample) -> tuple[str, ...]:
        """Return the texts of a request that the head is asked one by one; a head that reads no words is asked once."""
        found = readings(sample, self.policy.turns)
        return found if self.reads_words else found[:1]

    def reads(self, role: Role) -> bool:
        """Whether the words of a role's turns take part in a verdict."""
        return self.reads_words and (role == "user" or self.policy.turns == "all")

    def probabilities(self, samples: Sequence[Sample], *, batch: int | None = None) -> Tensor:
        """Return P(type, level) for requests with pictures, `n x types x levels`, float64; of several turns, those of the riskiest reading."""
        return self._seen(samples, batch)[0]

    def risks(self, samples: Sequence[Sample], *, batch: int | None = None) -> list[Risk | None]:
        """Return the verdict on each request, of its riskiest reading; None where there is no picture to look at."""
        pictured = [i for i, sample in enumerate(samples) if sample.images]
        found: list[Risk | None] = [None] * len(samples)
        if pictured:
            for i, risk in zip(pictured, self._seen([samples[i] for i in pictured], batch)[1], strict=True):
                found[i] = risk
        return found

    def judged(self, pictures: Sequence[Sequence[Tensor]], texts: Sequence[Sequence[str]]) -> tuple[Tensor, list[Risk]]:
        """Return P(type, level), `n x types x levels`, and the verdict of each request's riskiest reading, in one pass of the head.

        Args:
            pictures: for each request the features of its pictures, each `tiles x height x width x channels`.
            texts: for each request what it is read as, such as `read` returns.
        """
        return self._riskiest([self._readings(pictures, texts)], texts)

    def __call__(self, samples: Sequence[Sample]) -> list[Response]:
        return self.generate(samples)

    def generate(
        self,
        samples: Sequence[Sample],
        *,
        batch: int | None = None,
        progress: Callable[[int], None] | None = None,
        **options: Any,
    ) -> list[Response]:
        """Answer `samples`; each response records the verdict and the rule that decided.

        Args:
            samples: conversations that end with the user.
            batch: prompts per pass; default the model's.
            progress: called with the number of samples answered after each batch.
            options: as for `VLM.generate`.

        Raises:
            DataError, PictureError: a sample that cannot be read; nothing is answered unlooked at.
        """
        return self.answer(self.look(samples, batch=batch), batch=batch, progress=progress, **options)

    def look(self, samples: Sequence[Sample], *, batch: int | None = None) -> list[Looked]:
        """Judge what is asked, and say what the model will be asked in its place; no decoder runs.

        Raises:
            DataError, PictureError: a sample that cannot be read.
        """
        refuse_signs(samples)
        if not self.hints:
            return [Looked(sample, None, None) for sample in samples]
        seen = self.risks(samples, batch=batch)
        rules = [NO_PICTURE if risk is None else self.policy.decide(risk) for risk in seen]
        return [
            Looked(self.policy.hinted(sample, rule), risk, rule.name, bool(rule.hint))
            for sample, risk, rule in zip(samples, seen, rules, strict=True)
        ]

    def answer(self, looked: Sequence[Looked], *, within: Within | None = None, **options: Any) -> list[Response]:
        """Let the model answer what was looked at: with what was added to it where there is a picture, and as it is where there is none.

        Args:
            looked: what `look` returned.
            within: from the VLM that speaks, what is opened inside the additions for each batch, such as the `around` of a steered model.
            options: as for `VLM.generate`.
        """
        asked = [one.asked for one in looked]
        speaker = self.speaking if self.tokens else self.vlm
        whole = self.adapter is None
        rest = [i for i, sample in enumerate(asked) if whole or sample.images]
        plain = [i for i, sample in enumerate(asked) if not (whole or sample.images)]
        added = self._around if within is None else partial(self._both, within(speaker))
        answers = speaker.generate([asked[i] for i in rest], around=added, **options) if rest else []
        bare = None if within is None else within(self.vlm)
        answers += self.vlm.generate([asked[i] for i in plain], around=bare, **options) if plain else []
        by_place = dict(zip([*rest, *plain], answers, strict=True))
        return [
            replace(
                by_place[i], risk=one.risk, rule=one.rule, gate=one.hinted, methods=(*by_place[i].methods, self.name)
            )
            for i, one in enumerate(looked)
        ]

    @contextmanager
    def on(self) -> Iterator[None]:
        """Add safety tokens and adapter to the model inside the `with`, for code that calls `model.generate` itself.

        Prompts must come from `speaking.processor`, whose chat template places the tokens; the head and the policy take no part.
        """
        with ExitStack() as stack:
            if self.tokens:
                rows = self.modules.prompt_tokens.detach()
                stack.enter_context(extra_rows(self.vlm.anatomy, self.first_id, rows))
            if self.adapter is not None:
                stack.enter_context(adapted(self.vlm.model, self.adapter))
            yield

    def _seen(self, samples: Sequence[Sample], batch: int | None) -> tuple[Tensor, list[Risk]]:
        size, texts = batch or self.vlm.batch, [self.read(sample) for sample in samples]
        rows = [
            self._readings(picture_features(self.vlm, samples[i : i + size]), texts[i : i + size])
            for i in range(0, len(samples), size)
        ]
        return self._riskiest(rows, texts)

    @torch.no_grad()
    def _readings(self, pictures: Sequence[Sequence[Tensor]], texts: Sequence[Sequence[str]]) -> tuple[Tensor, Tensor]:
        """Return the logits of all readings, one request's behind another's, `readings x types` and `readings x levels`."""
        types, levels = self._asked(pictures, questions_of(self.vlm, texts, self.opening))
        if types.ndim == 2:
            return types, levels
        there = torch.tensor([[j < len(of) for j in range(types.shape[1])] for of in texts])
        return types[there], levels[there]

    def _asked(self, pictures: Sequence[Sequence[Tensor]], asked: Question) -> tuple[Tensor, Tensor]:
        types, levels = folded(self.modules, pictures, asked.text, asked.asked)
        return types.float().cpu(), levels.float().cpu()

    def _riskiest(
        self, rows: Sequence[tuple[Tensor, Tensor]], texts: Sequence[Sequence[str]]
    ) -> tuple[Tensor, list[Risk]]:
        both = joint(*stacked(rows), self.taxonomy.safe_type, self.temperatures)
        told, chosen, at = risks(both, self.taxonomy), [], 0
        for of in texts:
            chosen.append(at + riskiest(told[at : at + len(of)], self.policy))
            at += len(of)
        return both[chosen], [told[i] for i in chosen]

    def _around(self, batch: Batch) -> Any:
        return self.on()

    @contextmanager
    def _both(self, inner: Around, batch: Batch) -> Iterator[None]:
        with self.on(), inner(batch):
            yield
