"""Defenses by name, alone and stacked.

    defense("none", vlm, context)                        the model as it is
    defense("vlm_guard", vlm, context)                   fitted, or read from where it was fitted before
    defense("self_reminder+vlm_guard", vlm, context)     a stack, outermost first: the reminder is put around the steered model
    defense("mine.py:make", vlm, context)                a function in a file

A stack is guards that work by words around one thing that answers: the model, a steered model, or a SafeVLM. What answers stands last.

A defense of somebody else is a function, named by an entry point of the group `sightguard.defenses` or in a Python file as
`path.py:function`. With one parameter it is a guard, `generate -> Generate`; with two it answers, `(vlm, context) -> Generate`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from sightguard.bench.context import Context
from sightguard.bench.fitted import RECIPES, fitted
from sightguard.bench.plugins import function_in_file, is_file, parameters, plugins
from sightguard.bench.used import NOTHING, UNKNOWN, Used, used
from sightguard.errors import UnknownName, UsageError
from sightguard.types import Generate, Guard, Response, Sample

if TYPE_CHECKING:
    from sightguard.models.vlm import VLM
    from sightguard.safevlm.model import SafeVLM

JOINT = "+"
ORDER = "outermost first"
HINT = (
    "Or a function in a file, path.py:function; or a stack of them, outermost first, such as self_reminder+vlm_guard."
)


@dataclass(frozen=True)
class Defense:
    """A `Generate` that knows what it is made of."""

    name: str
    stack: tuple[str, ...]
    """Its parts, outermost first."""
    generate: Generate = field(repr=False)
    about: Mapping[str, Any] = field(default_factory=dict)
    """For the manifest of a run, JSON values: the stack and its order, the wording of each guard, what each fitted one was fitted with."""
    used: Used = field(default=NOTHING, repr=False)
    """What fitting and choosing looked at, for the overlap check."""
    forget: Callable[[], None] | None = field(default=None, repr=False)
    """Drops what it has read of prompts so far, so that it can be timed as on new ones; None where it remembers nothing that we know of."""

    def __call__(self, samples: Sequence[Sample]) -> list[Response]:
        return self.generate(samples)


@dataclass(frozen=True)
class Answers:
    """Something that answers, at the inner end of a stack."""

    generate: Generate
    about: Mapping[str, Any] = field(default_factory=dict)
    used: Used = NOTHING
    forget: Callable[[], None] | None = None


@dataclass(frozen=True)
class Part:
    """One part of a stack: a guard, or something that answers."""

    name: str
    guard: Callable[[Context], Guard] | None = None
    answers: Callable[[VLM, Context], Answers] | None = None


def defense(name: str, vlm: VLM, context: Context) -> Defense:
    """Return the defense or the stack of a name, ready to answer.

    Raises:
        UnknownName: no such defense; the message says which is close.
        UsageError: parts that cannot be stacked, a file or an entry point that cannot be used, or no SafeVLM where one is asked for.
        FingerprintMismatch: a fitted guard belongs to another model.
    """
    stack = parts(name)
    _check_folders(context)
    inner = stack[-1]
    # made before anything is fitted, so that a mistake in a guard costs no fitting
    guards = [(part, part.guard(context)) for part in stack if part.guard is not None]
    found = inner.answers(vlm, context) if inner.answers is not None else Answers(vlm.generate)
    generate, told = found.generate, {inner.name: dict(found.about)} if inner.answers is not None else {}
    for part, guard in reversed(guards):
        generate = guard(generate)
        told[part.name] = _wording(guard)
    names = tuple(part.name for part in stack)
    about = {"stack": list(names), "order": ORDER, "parts": {part: told[part] for part in names}}
    return Defense(
        name, names, generate, about, replace(found.used, known=found.used.known and ours(stack)), found.forget
    )


def ours(stack: Iterable[Part]) -> bool:
    """Return whether a stack is of our own parts alone: of a part of somebody else nobody knows what it was made from."""
    return all(OWN.get(part.name) is part for part in stack)


def parts(name: str) -> list[Part]:
    """Return the parts of a stack, outermost first; nothing is made yet.

    Raises:
        UnknownName, UsageError: as for `defense`.
    """
    names = [part.strip() for part in name.split(JOINT)]
    if not all(names):
        raise UsageError(f"the defense {name!r} has an empty part. {HINT}")
    twice = [part for part in names if names.count(part) > 1]
    if twice:
        raise UsageError(f"the defense {name!r} holds {twice[0]!r} more than once; once is all it can do")
    if "none" in names and len(names) > 1:
        raise UsageError(f"the defense {name!r} stacks something on 'none', the plain model; leave 'none' out")
    found = [_part(part) for part in names]
    answering = [part.name for part in found if part.answers is not None]
    if len(answering) > 1:
        raise UsageError(
            f"the defense {name!r} cannot be meant: {' and '.join(answering)} each answer with the model itself, and one answer comes from one "
            "of them. Bench them apart."
        )
    if answering and found[-1].name != answering[0]:
        rest = [part.name for part in found if part.name != answering[0]]
        raise UsageError(
            f"the defense {name!r} cannot be meant: {answering[0]} answers, so nothing stands inside it. Stacks are named outermost first: "
            f"{JOINT.join([*rest, answering[0]])}."
        )
    return found


def known() -> list[str]:
    """Return every name, ours first; a plug-in cannot replace one of ours."""
    return [*OWN, *(name for name in plugins() if name not in OWN)]


def _check_folders(context: Context) -> None:
    own = (*RECIPES, "safevlm_stage1", "safevlm")
    for name in context.folders:
        if name not in own and name not in plugins() and not is_file(name):
            raise UnknownName("defense that lies in a folder", name, own)


def _part(name: str) -> Part:
    if name in OWN:
        return OWN[name]
    others = plugins()
    if name in others:
        return _of_others(name, others[name].load())
    if is_file(name):
        return _of_others(name, function_in_file(name))
    raise UnknownName("defense", name, known(), HINT)


def _of_others(name: str, function: Callable[..., Any]) -> Part:
    count = parameters(name, function)
    if count == 1:
        return Part(name, guard=lambda context: function)
    return Part(name, answers=lambda vlm, context: Answers(function(vlm, context), {"function": name}))


def _wording(guard: Guard) -> dict[str, Any]:
    """Return the fields of a guard of ours: its words."""
    value: object = guard
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else {}


def _plain(vlm: VLM, context: Context) -> Answers:
    return Answers(vlm.generate)


def _steered(name: str, vlm: VLM, context: Context) -> Answers:
    from sightguard.steering.steer import steer

    guard, about = fitted(name, vlm, context)
    steered = steer(vlm, guard)
    return Answers(steered.generate, about, used(name, context), steered.memory.clear)


def _cmrm_sample(vlm: VLM, context: Context) -> Answers:
    from sightguard.steering.cmrm import Cmrm
    from sightguard.steering.steer import steer

    steered = steer(vlm, Cmrm.per_sample(vlm))
    return Answers(steered.generate, forget=steered.memory.clear)


def _safevlm(stage: str, vlm: VLM, context: Context) -> Answers:
    safe = _trained(stage, vlm, context)
    # its folder holds a digest of what it was trained on, and no list that could be compared
    return Answers(safe.generate, {"taxonomy": safe.taxonomy.name, "adapter": safe.adapter is not None}, UNKNOWN)


def _trained(stage: str, vlm: VLM, context: Context) -> SafeVLM:
    from sightguard.demo.safety import shipped
    from sightguard.safevlm.model import SafeVLM

    folder = context.folders.get(stage, context.folders.get("safevlm"))
    if folder is not None:
        first = {"adapter": None, "name": stage} if stage != "safevlm" else {}
        return SafeVLM.from_pretrained(folder, vlm, **first)
    for safe in shipped(vlm, context.model) if context.embedded else []:
        if safe.name == stage:
            return safe
    raise UsageError(
        f"the defense {stage!r} needs trained safety modules, and none lie beside the model {context.model!r}. Train them (`sightguard train`) "
        "and name their folder: safevlm=FOLDER."
    )


OWN: Mapping[str, Part] = {
    part.name: part
    for part in (
        Part("none", answers=_plain),
        Part("self_reminder", guard=lambda context: context.wording().self_reminder),
        Part("goal_priority", guard=lambda context: context.wording().goal_priority),
        Part("adashield_s", guard=lambda context: context.wording().adashield_s),
        Part("ecso", guard=lambda context: context.wording().ecso),
        Part(
            "ecso_always_caption",
            guard=lambda context: replace(context.wording().ecso, always_caption=True, name="ecso_always_caption"),
        ),
        *(Part(name, answers=partial(_steered, name)) for name in RECIPES),
        Part("cmrm_sample", answers=_cmrm_sample),
        Part("safevlm_stage1", answers=partial(_safevlm, "safevlm_stage1")),
        Part("safevlm", answers=partial(_safevlm, "safevlm")),
    )
}
