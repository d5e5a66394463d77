from __future__ import annotations

import pytest

from sightguard import errors
from sightguard.errors import MissingExtra, SightguardError, UnknownName, UsageError

EVERY = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, SightguardError)]


def test_every_error_belongs_to_the_tree_in_the_docstring() -> None:
    assert errors.__doc__ is not None
    assert {error.__name__ for error in EVERY} == {
        name for name in vars(errors) if name in errors.__doc__ and name[0].isupper()
    }


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (errors.UsageError, ValueError),
        (errors.UnknownName, LookupError),
        (errors.MissingExtra, ImportError),
        (errors.DataError, ValueError),
        (errors.PictureError, ValueError),
        (errors.ModelError, RuntimeError),
        (errors.LayoutNotFound, LookupError),
        (errors.ArtifactError, ValueError),
        (errors.FingerprintMismatch, ValueError),
        (errors.EditNeverRan, RuntimeError),
        (errors.OutputError, OSError),
    ],
)
def test_an_error_is_also_the_builtin_that_a_caller_would_catch(
    error: type[Exception], builtin: type[Exception]
) -> None:
    assert issubclass(error, builtin)
    assert issubclass(error, SightguardError)


def test_unknown_name_says_what_is_close_and_what_is_known() -> None:
    error = UnknownName("method", "vlm_gaurd", ["vlm_guard", "cmrm"], hint="See `sightguard methods`.")
    assert str(error) == (
        "no method 'vlm_gaurd'. Did you mean 'vlm_guard'? Known: vlm_guard, cmrm. See `sightguard methods`."
    )


def test_unknown_name_guesses_nothing_when_nothing_is_close() -> None:
    assert str(UnknownName("layer", 99, [0, 1])) == "no layer '99'. Known: 0, 1."


def test_unknown_name_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no model 'x'"):
        raise UnknownName("model", "x", [])


def test_missing_extra_says_the_pip_line() -> None:
    message = str(MissingExtra("datasets", "data", "Reading parquet"))
    assert message == "Reading parquet needs the package 'datasets'. Install it: pip install 'sightguard[data]'"
