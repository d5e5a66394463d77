"""Files of ours: safetensors and JSON only, written whole or not at all.

A pickle can run code while it is being read, so nothing here opens one. This is the text half: vectors are numpy
arrays, which lets other engines read a guard without torch or transformers.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from sightguard.errors import ArtifactError, OutputError

PICKLES = frozenset({".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz"})

Arrays = dict[str, NDArray[Any]]


LOCK = ".lock"
"""In a folder that one process at a time works in."""


def sha256(data: bytes) -> str:
    """Return the hex digest of some bytes."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the hex digest of a file, read in pieces so that a checkpoint needs no memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: object) -> str:
    """Return a digest of a JSON value that does not depend on the order of its keys."""
    return sha256(json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode())


def well_formed(text: str) -> str:
    """Return a text that UTF-8 can hold: half a surrogate pair, as an answer cut inside an emoji leaves it, becomes U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def json_text(value: object, *, indent: int | None = None, allow_nan: bool = True) -> str:
    """Return a value as JSON that UTF-8 can hold: letters as they are, and all as escapes where one has no UTF-8, so that nothing is lost."""
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=allow_nan)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, indent=indent, allow_nan=allow_nan)
    return text


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: to a temporary name beside it, then renamed."""
    with whole_file(path) as file:
        file.write(data)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to write to that takes its name only if the block ends well; otherwise it leaves nothing.

    Raises:
        OutputError: it cannot be written.
    """
    with _output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o666 & ~_umask())
            Path(temporary).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(temporary).unlink()
            raise


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text whole or not at all; what UTF-8 cannot hold becomes U+FFFD."""
    write_bytes(path, well_formed(text).encode())


def write_json(path: Path, value: object) -> None:
    """Write indented JSON whole or not at all; NaN and infinity are refused, because JSON has no such numbers."""
    write_text(path, json_text(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path, *, schema: int | Collection[int] | None = None) -> dict[str, Any]:
    """Return the JSON object in a file, checked against the format number `schema`, or several, where one is given.

    Raises:
        ArtifactError: the file is missing, is no JSON object, or carries another format number.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror}. Check the path.") from error
    except ValueError as error:
        raise ArtifactError(f"{path} is no JSON: {error}. It may be cut short; make or fetch it again.") from error
    if not isinstance(value, dict):
        raise ArtifactError(f"{path} should hold a JSON object, and holds a {type(value).__name__}.")
    known = {schema} if isinstance(schema, int) else set(schema or ())
    if known and value.get("schema") not in known:
        found, expected = value.get("schema"), " or ".join(str(number) for number in sorted(known))
        raise ArtifactError(
            f"{path} has format number {found!r}; this version of Sightguard reads {expected}. "
            "Use the version that wrote it, or make it again."
        )
    return value


def write_tensors(path: Path, arrays: Mapping[str, NDArray[Any]], *, metadata: Mapping[str, str] | None = None) -> None:
    """Write arrays as safetensors, whole or not at all."""
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    write_bytes(path, save(whole, metadata=dict(metadata or {})))


def read_tensors(path: Path) -> Arrays:
    """Return the arrays of a safetensors file.

    Raises:
        ArtifactError: the file is missing, broken, or of a kind that may hold a pickle.
    """
    refuse_pickle(path)
    if not path.is_file():
        raise ArtifactError(f"no file {path}. Expected safetensors; check the path.")
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise ArtifactError(f"{path} cannot be read as safetensors: {error}. Make or fetch it again.") from error


def refuse_pickle(path: Path) -> None:
    """Raise ArtifactError if the name says that the file may hold a pickle."""
    if path.suffix.lower() in PICKLES:
        raise ArtifactError(
            f"{path.name} is not read: a {path.suffix} file may hold a pickle, which can run code when it is opened. "
            "Convert it to .safetensors where you trust it."
        )


def output_folder(path: Path | str, *, may_hold: Collection[str] = ()) -> Path:
    """Return `path` as a folder that exists, can be written and holds nothing but the names in `may_hold`.

    Call it before the work begins, so that nobody waits for a run that cannot be saved. `may_hold` is for work that can
    be taken up again.

    Raises:
        OutputError: it cannot be written, or it already holds a run.
    """
    folder = Path(path)
    with _output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        there = sorted(entry.name for entry in folder.iterdir() if not _left_over(entry))
        with tempfile.TemporaryFile(dir=folder):
            pass
    extra = [name for name in there if name not in may_hold]
    if extra:
        shown = ", ".join(extra[:3]) + (", …" if len(extra) > 3 else "")
        raise OutputError(
            f"{folder} already holds a run ({shown}). Name another folder, or remove this one first; "
            "nothing in it was changed."
        )
    return folder


@contextmanager
def alone_in(folder: Path, what: str) -> Iterator[Path]:
    """Keep other processes out of a folder inside the `with`; where the process dies, the system lets them in.

    Args:
        folder: that exists.
        what: works there, for the message: "audit".

    Raises:
        OutputError: another process is at work there.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise OutputError(
            f"another {what} is writing to {str(folder)!r}. Wait for it, or name another folder with --out."
        ) from None
    try:
        yield folder
    finally:
        lock.release()
        if [entry.name for entry in folder.iterdir()] == [LOCK]:  # nothing was done here
            (folder / LOCK).unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path | str) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` only if the block ends well; otherwise it leaves nothing.

    Raises:
        OutputError: `path` already exists and is not an empty folder, or cannot be written.
    """
    final = output_folder(Path(path).resolve())
    with _output_errors(final):
        temporary = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}.", suffix=".partial"))
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        with _output_errors(final):
            for entry in final.iterdir():
                if _left_over(entry):
                    _remove(entry)
            final.rmdir()  # fails where another writer was faster: its work stays
            temporary.replace(final)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        with suppress(OSError):
            final.rmdir()
        raise


SAME_DIGEST = {"float32", "bfloat16"}
"""Precisions in which one set of weights has one digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What a guard was made for: enough to notice that it is put on another model."""

    repo: str
    revision: str | None
    architecture: str
    hidden_size: int
    layers: int
    dtype: str
    chat_template_sha256: str | None
    weights_sha256: str | None
    image_processor: str
    """The class and its backend: pixels differ a little from one backend to another."""

    @classmethod
    def of(cls, values: Mapping[str, Any], *, where: str = "guard.json") -> Self:
        """Read a fingerprint from JSON.

        Raises:
            ArtifactError: an entry is missing or unknown.
        """
        expected = {field.name for field in fields(cls)}
        missing, unknown = sorted(expected - values.keys()), sorted(values.keys() - expected)
        if missing or unknown:
            raise ArtifactError(f"the fingerprint in {where} lacks {missing} and has unknown entries {unknown}.")
        return cls(**values)

    def as_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    def differences(self, other: Self) -> list[str]:
        """Return what differs in a way that makes a guard invalid, one readable line each; empty if nothing does.

        Where the digests of the weights are known on both sides they decide, and the name under which the model was
        loaded does not matter.
        """
        names = ["architecture", "hidden_size", "layers", "chat_template_sha256", "image_processor"]
        alike = self.dtype == other.dtype or {self.dtype, other.dtype} <= SAME_DIGEST
        if self.weights_sha256 and other.weights_sha256 and alike:
            names.append("weights_sha256")
        else:
            names += ["repo", "revision"]
        return [line for name in names if (line := self._difference(other, name))]

    def dtype_difference(self, other: Self) -> str | None:
        """Return a readable line if only the precision differs: worth a warning, not a refusal."""
        return self._difference(other, "dtype")

    def _difference(self, other: Self, name: str) -> str | None:
        ours, theirs = getattr(self, name), getattr(other, name)
        if name == "weights_sha256" and ours != theirs:
            return "weights: the decoder's values differ"
        return None if ours == theirs else f"{name.replace('_', ' ')}: {ours} here, {theirs} there"


def _left_over(entry: Path) -> bool:
    """A temporary file of ours that a killed process left behind: it never counts as a run."""
    return entry.name.startswith(".") and entry.name.endswith(".partial")


@contextmanager
def _output_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(
            f"cannot write to {path}: {error.strerror or error}. Name a folder that you may write to, with --out."
        ) from error


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
