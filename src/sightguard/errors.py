"""Everything that Sightguard raises on purpose.

    SightguardError
    ├── UsageError (ValueError)              an argument that cannot be meant
    │   └── UnknownName (LookupError)        no such model, method, layer …; says what is close
    ├── MissingExtra (ImportError)           an optional package is not installed; says the pip line
    ├── DataError (ValueError)
    │   ├── CannotCertify                    calibration data that cannot certify the rate that was asked for
    │   ├── PictureError                     a picture that is missing, truncated or none at all
    │   └── PromptTooLong                    more tokens than the model takes
    ├── ModelError (RuntimeError)
    │   ├── LayoutNotFound (LookupError)     a part of the model could not be found
    │   └── NoVision                         the model has no vision part
    ├── ArtifactError (ValueError)           a file of ours that cannot be read
    │   └── FingerprintMismatch              a guard made for another model
    ├── TrainingStopped (RuntimeError)       a training that did harm and was ended
    ├── EditError (RuntimeError)
    │   └── EditNeverRan                     the model spoke and the edit did not happen
    ├── CanaryFailed (RuntimeError)          a server whose guard could not be shown to work
    └── OutputError (OSError)                an output folder that cannot be written, or already holds a run

Every message says what was expected, what came, where, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SightguardError(Exception):
    """The root of the tree."""


class UsageError(SightguardError, ValueError):
    """An argument that cannot be meant."""


class UnknownName(UsageError, LookupError):
    """No such name. `kind` is a noun ("method"), `known` are the names that exist."""

    def __init__(self, kind: str, name: object, known: Iterable[object], hint: str = "") -> None:
        names = [str(item) for item in known]
        close = difflib.get_close_matches(str(name), names, n=1)
        meant = f" Did you mean {close[0]!r}?" if close else ""
        super().__init__(f"no {kind} {str(name)!r}.{meant} Known: {', '.join(names)}.{' ' + hint if hint else ''}")


class MissingExtra(SightguardError, ImportError):
    """An optional package is not installed."""

    def __init__(self, package: str, extra: str, needed_for: str) -> None:
        super().__init__(f"{needed_for} needs the package {package!r}. Install it: pip install 'sightguard[{extra}]'")


class DataError(SightguardError, ValueError):
    """Input data that cannot be used; `sample` is the id of the sample that is meant, where it is one of several."""

    def __init__(self, message: object = "", *, sample: str | None = None) -> None:
        super().__init__(message)
        self.sample = sample


class CannotCertify(DataError):
    """Calibration data that cannot certify the rate that was asked for."""


class PictureError(DataError):
    """A picture that is missing, truncated, or no picture at all."""


class PromptTooLong(DataError):
    """A prompt of more tokens than the model takes."""


class ModelError(SightguardError, RuntimeError):
    """A model that cannot be used as asked."""


class LayoutNotFound(ModelError, LookupError):
    """A part of the model could not be found by structure."""


class NoVision(ModelError):
    """The model has no vision part."""


class ArtifactError(SightguardError, ValueError):
    """A file of ours that cannot be read."""


class FingerprintMismatch(ArtifactError):
    """A guard that was made for another model."""


class TrainingStopped(SightguardError, RuntimeError):
    """A training that made the model worse in a way that was to be watched for."""


class EditError(SightguardError, RuntimeError):
    """An edit of hidden states that could not be done."""


class EditNeverRan(EditError):
    """The model spoke and the edit did not happen."""


class CanaryFailed(SightguardError, RuntimeError):
    """A guard that could not be shown to work on the model that is about to be served."""


class OutputError(SightguardError, OSError):
    """An output folder that cannot be written, or that already holds something."""
