"""Policies: whose turns are read, what is done about a type of risk at a level, and the operator's words for it.

A policy is a YAML file:

    schema: 1
    turns: user                              # whose turns the head reads: `user`, or `all` for the system's and the assistant's too
    hint: "\\nSafety hint: {hint}"           # how a hint is put behind the question
    names: {privacy: personal privacy}       # what a hint calls a type
    hints: {caution: "...", may_refuse: "...", refuse: "..."}
    levels: {1: caution, 2: may_refuse, 3: refuse}
    types:                                   # exceptions, by type and level; `off` switches a type off
      politics: {2: {action: may_refuse, hint: "..."}}
      fairness: off
    thresholds: {privacy: 0.8}               # flag a type only from this probability on; without one the likeliest type decides

A turn that is not read can hide a request; one of a kind that the head was never trained on can be flagged for its kind. So whose turns
are read is the operator's choice.

Actions: `answer` leaves the prompt alone, the other three put their hint behind the question. SafeVLM calls that "joint conditional"
control: head first, then the text is rewritten, then the model answers. The published hints are theirs; these are ours.

A type that is switched off is never flagged; requests of other types are decided as before, because the probabilities of the others
are not renormalised.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self, get_args

from sightguard.data.taxonomy import Taxonomy, read_yaml
from sightguard.errors import DataError
from sightguard.types import Message, Risk, Sample

Action = Literal["answer", "caution", "may_refuse", "refuse"]
ACTIONS: tuple[Action, ...] = get_args(Action)
Turns = Literal["user", "all"]
TURNS: tuple[Turns, ...] = get_args(Turns)
SCHEMA = 1
DEFAULT = Path(__file__).with_name("policy.yaml")
_KEYS = {"schema", "hint", "names", "hints", "levels", "types", "thresholds", "turns"}


@dataclass(frozen=True, slots=True)
class Rule:
    """What is done, and the name under which the response records it ("privacy/2:may_refuse")."""

    name: str
    action: Action
    hint: str = ""
    """The words of the hint; empty for `answer`."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What is done about each verdict. See the module for the file format."""

    rules: Mapping[tuple[str, int], Rule]
    """One for each risk type and level."""
    form: str = "\nSafety hint: {hint}"
    off: frozenset[str] = frozenset()
    """Types that are switched off."""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """From which probability on a type is flagged; types without one are flagged where they are the likeliest."""
    safe: str = "safe"
    turns: Turns = "user"
    """Whose turns the head reads: the user's, or those of the system and the assistant too."""

    def __post_init__(self) -> None:
        turns_of(self.turns, "a policy")

    def decide(self, risk: Risk) -> Rule:
        """Return the rule for a verdict.

        The likeliest type that is not switched off and reaches its threshold decides; it must be likelier than safe where it has none.
        """
        flagged = [
            kind for kind in risk.p_types if kind != self.safe and kind not in self.off and self._reaches(risk, kind)
        ]
        if not flagged:
            switched = risk.type in self.off and risk.type != self.safe
            return Rule(f"{risk.type}:off" if switched else f"{self.safe}:answer", "answer")
        kind = max(flagged, key=lambda name: risk.p_types[name])
        return self.rules[kind, risk.levels[kind]]

    def switched_off(self, *types: str) -> Policy:
        """Return the policy with these types switched off as well.

        Raises:
            DataError: there is no such type.
        """
        known = {kind for kind, _ in self.rules}
        if unknown := [name for name in types if name not in known]:
            raise DataError(f"the policy knows no type {unknown[0]!r} to switch off. Known: {', '.join(sorted(known))}")
        return replace(self, off=self.off | set(types))

    def hinted(self, sample: Sample, rule: Rule) -> Sample:
        """Return the sample with the rule's hint behind the words of its last turn."""
        if not rule.hint:
            return sample
        last = sample.messages[-1]
        words = self.form.format(hint=rule.hint)
        parts = list(last.parts)
        if parts and isinstance(parts[-1], str):
            parts[-1] += words
        else:
            parts.append(words.strip())
        return replace(sample, messages=(*sample.messages[:-1], Message(last.role, tuple(parts))))

    def _reaches(self, risk: Risk, kind: str) -> bool:
        limit = self.thresholds.get(kind)
        if limit is not None:
            return risk.p_types[kind] >= limit
        return kind == risk.type

    @classmethod
    def of(cls, values: Any, taxonomy: Taxonomy, where: str) -> Self:
        """Build a policy from the data of a YAML or JSON file.

        Raises:
            DataError: an unknown entry, type, level, action or `turns`, or a hint that is missing.
        """
        told = _checked(values, where)
        types = told.get("types") or {}
        _check_names(types, taxonomy.risks, "types", where)
        _check_names(told.get("thresholds") or {}, taxonomy.risks, "thresholds", where)
        names = told.get("names") or {}
        off = frozenset(kind for kind, entry in types.items() if _is_off(entry))
        rules = {
            (kind, level): _rule(
                kind, level, told, {} if kind in off else types.get(kind) or {}, names.get(kind, kind), where
            )
            for kind in taxonomy.risks
            for level in range(1, len(taxonomy.levels))
        }
        thresholds = {kind: float(value) for kind, value in (told.get("thresholds") or {}).items()}
        turns = turns_of(told.get("turns", "user"), where)
        return cls(rules, str(told.get("hint", "\nSafety hint: {hint}")), off, thresholds, taxonomy.safe, turns)


def read_policy(path: Path | str, taxonomy: Taxonomy) -> Policy:
    """Read a policy from a YAML file.

    Raises:
        DataError: no such file, or no policy for this taxonomy; the message says what was expected.
    """
    return Policy.of(read_yaml(Path(path)), taxonomy, str(path))


def default_policy(taxonomy: Taxonomy) -> Policy:
    """Return the default policy; types that the default file does not name are treated by level alone."""
    values = read_yaml(DEFAULT)
    known = {kind: entry for kind, entry in values["types"].items() if kind in taxonomy.risks}
    levels = {level: values["levels"].get(level, "refuse") for level in range(1, len(taxonomy.levels))}
    return Policy.of({**values, "types": known, "levels": levels}, taxonomy, DEFAULT.name)


def turns_of(value: object, where: str) -> Turns:
    """Return whose turns are read.

    Raises:
        DataError: another value than `user` or `all`.
    """
    if value not in TURNS:
        raise DataError(
            f"{where}: `turns` says whose turns the safety head reads: expected {' or '.join(TURNS)}; got {value!r}"
        )
    return value


def _checked(values: Any, where: str) -> dict[str, Any]:
    if not isinstance(values, dict) or values.get("schema") != SCHEMA:
        raise DataError(f"{where} should be a policy with `schema: {SCHEMA}`; found {str(values)[:60]!r}")
    if unknown := sorted(set(values) - _KEYS):
        raise DataError(f"{where} has unknown entries {unknown}; a policy has {', '.join(sorted(_KEYS))}")
    return values


def _check_names(given: Mapping[Any, Any], known: tuple[str, ...], what: str, where: str) -> None:
    if unknown := [name for name in given if name not in known]:
        raise DataError(f"{where}: {what} names {unknown[0]!r}, which is no risk type. Known: {', '.join(known)}")


def _is_off(entry: Any) -> bool:
    return entry is False or entry == "off"  # YAML reads a bare `off` as false


def _rule(kind: str, level: int, told: Mapping[str, Any], entry: Any, risk: str, where: str) -> Rule:
    own = entry.get(level) if isinstance(entry, dict) else None
    if isinstance(own, str):
        own = {"action": own}
    own = own or {}
    action = own.get("action", (told.get("levels") or {}).get(level))
    if action not in ACTIONS:
        raise DataError(
            f"{where}: type {kind!r}, level {level}: expected an action of {', '.join(ACTIONS)}; got {action!r}"
        )
    hint = own.get("hint", (told.get("hints") or {}).get(action, ""))
    if action != "answer" and not str(hint).strip():
        raise DataError(
            f"{where}: type {kind!r}, level {level}: the action {action!r} needs a hint, here or under `hints`"
        )
    words = "" if action == "answer" else str(hint).strip().format(risk=risk)
    return Rule(f"{kind}/{level}:{action}", action, words)
