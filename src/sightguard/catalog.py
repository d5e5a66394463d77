"""What there is to choose from, as tables that can be read: name → where it lives.

Nothing is imported until it is asked for. Other distributions add methods through the entry-point group
`sightguard.methods`, one entry a method: `name = "package.module:Class"`; judges through `sightguard.judges`, and so on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Literal

from sightguard.errors import UnknownName, UsageError

Kind = Literal["method", "trained", "baseline", "defense", "attack", "judge"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the catalogue."""

    target: str
    """module:attribute"""
    summary: str
    paper: str = ""
    """An arXiv number or another citation."""


METHODS: Mapping[str, Entry] = {
    "vlm_guard": Entry(
        "sightguard.steering.vlm_guard:VlmGuard",
        "Puts the language model's own view of the text back into the states of the vision-language model.",
        "arXiv 2502.10486",
    ),
    "cmrm": Entry(
        "sightguard.steering.cmrm:Cmrm",
        "Takes the shift that a meaningless picture makes out of the states of the vision-language model.",
        "arXiv 2410.09047",
    ),
}

TRAINED: Mapping[str, Entry] = {
    "safevlm": Entry(
        "sightguard.safevlm.model:SafeVLM",
        "Judges picture and question with a trained head, and answers by the operator's policy.",
        "arXiv 2405.13581, 2411.11543",
    ),
}

BASELINES: Mapping[str, Entry] = {
    "self_reminder": Entry(
        "sightguard.guards.prompts:SelfReminder",
        "Two reminders of responsibility, one before and one after the request.",
        "Xie et al., Nature Machine Intelligence 2023",
    ),
    "goal_priority": Entry(
        "sightguard.guards.prompts:GoalPriority",
        "Puts safety before helpfulness, with one worked example of each.",
        "arXiv 2311.09096",
    ),
    "adashield_s": Entry(
        "sightguard.guards.adashield:AdaShieldS",
        "One fixed prompt that asks the model to look for harm in the picture before it answers.",
        "arXiv 2403.09513",
    ),
    "ecso": Entry(
        "sightguard.guards.ecso:Ecso",
        "Lets the model judge its own answer, and answer again from a description of the picture where it finds harm.",
        "arXiv 2403.09572",
    ),
}

DEFENSES: Mapping[str, Entry] = {
    "none": Entry("sightguard.models.vlm:VLM", "The model as it is, which every bench asks too."),
    "vlm_guard_caption": Entry(
        "sightguard.steering.vlm_guard:VlmGuard",
        "VLM-Guard with the model's own caption of the picture in its reference.",
        "arXiv 2502.10486",
    ),
    "vlm_guard_null_space": Entry(
        "sightguard.steering.vlm_guard:VlmGuard",
        "VLM-Guard with directions in the null space of benign states.",
        "arXiv 2502.10486, 2603.22094",
    ),
    "cmrm_in_turn": Entry(
        "sightguard.steering.cmrm:Cmrm", "CMRM fitted layer after layer, at the prompt alone.", "arXiv 2410.09047"
    ),
    "cmrm_sample": Entry(
        "sightguard.steering.cmrm:Cmrm",
        "CMRM with the shift of each sample, which nothing is fitted for.",
        "arXiv 2410.09047",
    ),
    "safevlm_stage1": Entry(
        "sightguard.safevlm.model:SafeVLM",
        "SafeVLM after the first stage of its training, without an adapter of the language model.",
        "arXiv 2405.13581, 2411.11543",
    ),
    "ecso_always_caption": Entry(
        "sightguard.guards.ecso:Ecso", "ECSO that always answers from a description of the picture.", "arXiv 2403.09572"
    ),
}
"""What `sightguard bench` knows beside methods, trained modules and baselines (`sightguard.bench.defenses`)."""

ATTACKS: Mapping[str, Entry] = {
    "blank": Entry(
        "sightguard.attacks.images:BlankImage", "Puts a blank picture beside the request.", "arXiv 2502.10486"
    ),
    "noise": Entry(
        "sightguard.attacks.images:NoiseImage", "Puts a picture of noise beside the request.", "arXiv 2410.09047"
    ),
    "unrelated": Entry(
        "sightguard.attacks.images:UnrelatedImage", "Puts a drawing of something else beside the request."
    ),
    "wrappers": Entry(
        "sightguard.attacks.wrappers:Wrappers", "Puts words around the request that ask to answer.", "arXiv 2307.02483"
    ),
    "figstep": Entry(
        "sightguard.attacks.typographic:FigStep",
        "Writes the request into a picture, as a list to be completed.",
        "arXiv 2311.05608",
    ),
    "typo": Entry(
        "sightguard.attacks.typographic:Typographic", "Writes the request into a picture.", "arXiv 2311.17600"
    ),
    "typo_below": Entry(
        "sightguard.attacks.typographic:Typographic",
        "Writes the request below the picture that is there.",
        "arXiv 2311.17600",
    ),
    "pgd": Entry(
        "sightguard.attacks.pgd:Pgd",
        "Moves pixels against the undefended model; pgd:EPS in steps of 255.",
        "arXiv 1706.06083, 2306.15447",
    ),
    "pgd_adaptive": Entry(
        "sightguard.attacks.adaptive:adaptive",
        "Moves pixels against each defense; pgd_adaptive:EPS.",
        "arXiv 2002.08347",
    ),
    "icet": Entry(
        "sightguard.attacks.icet:EarlyExit", "Ends the vision tower after a layer; icet:LAYER.", "arXiv 2411.04291"
    ),
}
"""What suites name (`sightguard.attacks.catalog`, `sightguard.bench.pixels`)."""

JUDGES: Mapping[str, Entry] = {
    "refusal_phrases": Entry(
        "sightguard.bench.judges.builders:phrases",
        "Reads how an answer begins; refusal_phrases:LANGUAGE or a YAML file.",
    ),
    "pocket": Entry("sightguard.bench.judges.builders:pocket", "Reads the embedded model's answers by its grammar."),
    "head": Entry(
        "sightguard.bench.judges.builders:head",
        "A safety head looks at the request, phrases at the answer; head:FOLDER.",
        "arXiv 2411.11543",
    ),
    "guard": Entry(
        "sightguard.bench.judges.builders:guard",
        "A Llama Guard reads request and answer; guard:MODEL, or guard@URL#MODEL.",
        "arXiv 2312.06674",
    ),
    "rubric": Entry(
        "sightguard.bench.judges.builders:rubric",
        "A model behind an endpoint scores from 0 to 10; rubric@URL#MODEL.",
        "arXiv 2411.11543",
    ),
    "strongreject": Entry(
        "sightguard.bench.judges.builders:strongreject",
        "A model behind an endpoint says of what use an answer is to harm; strongreject@URL#MODEL.",
        "arXiv 2402.10260",
    ),
}
"""What takes an argument and options; `sightguard.bench.judges.catalog.open_judge` reads the whole name."""

_OWN: Mapping[Kind, Mapping[str, Entry]] = {
    "method": METHODS,
    "trained": TRAINED,
    "baseline": BASELINES,
    "defense": DEFENSES,
    "attack": ATTACKS,
    "judge": JUDGES,
}
_GROUPS: Mapping[Kind, str] = {
    "method": "sightguard.methods",
    "trained": "sightguard.trained",
    "baseline": "sightguard.baselines",
    "defense": "sightguard.defenses",
    "attack": "sightguard.attacks",
    "judge": "sightguard.judges",
}


def known(kind: Kind) -> dict[str, Entry]:
    """Return every entry of a kind, ours first; a plug-in cannot replace one of ours."""
    plugins = {
        point.name: Entry(point.value, f"plug-in from {point.dist.name if point.dist else 'an unknown distribution'}")
        for point in entry_points(group=_GROUPS[kind])
    }
    return {**_OWN[kind], **{name: entry for name, entry in sorted(plugins.items()) if name not in _OWN[kind]}}


def load(kind: Kind, name: str) -> Any:
    """Import and return what a name stands for.

    Example:
        >>> load("method", "vlm_guard").__name__
        'VlmGuard'

    Raises:
        UnknownName: there is no such name; the message says which is close.
        UsageError: the entry points at something that is not there.
    """
    entries = known(kind)
    if name not in entries:
        raise UnknownName(kind, name, entries)
    module, _, attribute = entries[name].target.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"the {kind} {name!r} should live at {entries[name].target}, which cannot be imported: {error}. "
            "Install its distribution again, or remove it."
        ) from error
