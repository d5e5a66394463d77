"""Every name of a bench, checked before anything is read, loaded or asked."""

from __future__ import annotations

from collections.abc import Sequence

from sightguard.attacks.catalog import attack
from sightguard.bench.defenses import parts
from sightguard.bench.pixels import OnModel
from sightguard.bench.suite import Column, Suite, is_on_model
from sightguard.data.benchmarks import check_name
from sightguard.errors import SightguardError


def check_names(suite: Suite, defenses: Sequence[str]) -> None:
    """Check the benchmarks and attacks of a suite, those of a model with data of its own too, and who answers.

    Raises:
        UnknownName: no such benchmark, attack or defense; the message says which setting names it, and what is close.
        UsageError: a stack that cannot be meant, or a file that cannot be used.
    """
    for name in defenses:
        parts(name)
    for setting in suite.settings:
        try:
            _check(setting)
        except SightguardError as error:
            error.args = (f"the setting {setting.name!r} of the suite {suite.name!r}: {error}",)
            raise


def _check(setting: Column) -> None:
    if setting.benchmark is not None:
        check_name(setting.benchmark)
    for name in setting.attacks:
        if is_on_model(name):
            OnModel.of(name)
        else:
            attack(name)
