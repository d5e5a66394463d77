"""Folders of ours on the Hugging Face hub: fetched, and put there, through huggingface_hub.

Only JSON, safetensors and Markdown travel in either direction; a whole model that is put there takes the files of its tokenizer along.
What is fetched lies in huggingface's own cache; its settings hold here too (HF_HUB_OFFLINE, HF_HOME, HF_TOKEN, HF_ENDPOINT).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypedDict, Unpack

import yaml

from sightguard.errors import ArtifactError, ModelError, OutputError

FILES = ("*.json", "*.safetensors", "*.md")
MODEL_FILES = (*FILES, "*.jinja", "*.txt", "*.model")
"""Of a whole model: its chat template, its tokenizer's vocabulary or merges, and a vocabulary of sentencepiece."""
_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class Fetch(TypedDict, total=False):
    """Where a folder on the hub is read from."""

    revision: str | None
    """Commit, branch or tag; pin a commit."""
    token: str | bool | None
    cache_dir: str | Path | None
    local_files_only: bool
    """Read the cache alone; so does HF_HUB_OFFLINE=1."""


class Push(TypedDict, total=False):
    """How a folder is put on the hub."""

    private: bool | None
    """Of a repository that is made by this; one that exists stays as it is."""
    commit_message: str | None
    revision: str | None
    """The branch, made where there is none; default: the repository's main branch."""
    token: str | bool | None


def is_hub_id(source: str | Path) -> bool:
    """Return whether `source` is meant for the hub: a string of the form "owner/name" where no such folder lies; never a Path."""
    return isinstance(source, str) and not Path(source).exists() and _ID.fullmatch(source) is not None


def fetched(
    source: str | Path,
    kind: str,
    holds: str,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    files: Sequence[str] = FILES,
) -> Path:
    """Return the local folder of `source`, fetched first where it is a hub id.

    Args:
        source: a folder, or "owner/name" on the hub. A folder of that name comes first.
        kind: what is looked for, as a noun ("guard").
        holds: the file that makes it one.
        revision, token, cache_dir, local_files_only: as for `huggingface_hub.snapshot_download`.
        files: patterns of what is fetched.

    Raises:
        ArtifactError: the hub could not be reached, or the repository holds nothing of that kind.
    """
    if not is_hub_id(source):
        return Path(source)
    if revision is None:
        warnings.warn(
            f"{source} is loaded without a revision, so the {kind} may change. Pass revision='<commit>' (the hub shows it) to pin it.",
            stacklevel=4,
        )
    import huggingface_hub

    try:
        folder = Path(
            huggingface_hub.snapshot_download(
                str(source),
                revision=revision,
                token=token,
                cache_dir=cache_dir,
                local_files_only=local_files_only,
                allow_patterns=list(files),
                library_name="sightguard",
            )
        )
    except Exception as error:  # the transport below has errors of its own, which are not those of Python
        raise ArtifactError(
            f"no folder {str(source)!r} is here, and the {kind} could not be fetched from the hub ({_asked(source, revision)}): "
            f"{_first_line(error)} Check name, revision and token; without a network pass a local folder, or fetch it once where there is "
            "one: with HF_HUB_OFFLINE=1 the cache alone is read."
        ) from error
    if not (folder / holds).is_file():
        raise ArtifactError(
            f"{_asked(source, revision)} on the hub holds no {kind}: {holds} is not in it. Check name and revision; if it is a model, pass "
            "it where models go."
        )
    return folder


def saved(place: Path, repo_id: str | None, *, push_to_hub: bool, **options: Unpack[Push]) -> Path:
    """Return a folder that was just written, put on the hub too if that is wanted: as `repo_id`, or under the folder's name."""
    if push_to_hub:
        push(place, repo_id or place.resolve().name, **options)
    return place


def pushed(write: Callable[[str], Path], repo_id: str, **options: Unpack[Push]) -> str:
    """Put on the hub what `write` writes to a folder, without keeping the folder; returns the address of the commit."""
    with TemporaryDirectory() as place:
        return push(write(place), repo_id, **options)


def push(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    commit_message: str | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    files: Sequence[str] = FILES,
) -> str:
    """Put a folder on the hub, in a repository that is made where there is none; returns the address of the commit.

    Args:
        folder: the files of it that `files` names are sent; others stay here.
        repo_id: "owner/name", or a name of your own.
        private: whether a new repository is private.
        commit_message: what the commit says.
        revision: the branch, made where there is none.
        token: default: the one that you logged in with (`hf auth login`, or HF_TOKEN).
        files: patterns of their names.

    Raises:
        OutputError: the hub could not be reached, or refused.
    """
    from huggingface_hub import HfApi

    api = HfApi(token=token, library_name="sightguard")
    try:
        name = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        if revision is not None:
            api.create_branch(name, branch=revision, exist_ok=True)
        commit = api.upload_folder(
            repo_id=name,
            folder_path=folder,
            revision=revision,
            commit_message=commit_message or "Upload with Sightguard",
            allow_patterns=list(files),
        )
    except Exception as error:  # the transport below has errors of its own, which are not those of Python
        raise OutputError(
            f"nothing could be put on the hub ({_asked(repo_id, revision)}): {_first_line(error)} Log in (hf auth login, or HF_TOKEN) with a "
            "token that may write, and leave HF_HUB_OFFLINE unset; save_pretrained writes the same folder here."
        ) from error
    return str(commit.commit_url)


def front_matter(
    *, tags: list[str], base: str, license: str | None = None, library: str = "sightguard", **more: str
) -> str:
    """Return the YAML at the head of a card, which the hub reads.

    Args:
        tags: what the hub lists it under.
        base: the model that it was made for; named where it has the form of a hub id.
        license: an identifier such as "apache-2.0"; None leaves it out.
        library: what it is loaded with.
        more: further entries that the hub knows, such as `pipeline_tag`.
    """
    known = {
        "library_name": library,
        "tags": ["sightguard", *tags],
        **({"base_model": base} if _ID.fullmatch(base) else {}),
        **({"license": license} if license else {}),
        **more,
    }
    return f"---\n{yaml.safe_dump(known, sort_keys=False)}---"


def explained(source: str, revision: str | None, reason: str) -> ModelError:
    """Return the error for a model that could not be fetched."""
    return ModelError(
        f"transformers could not load {source!r} from the hub ({_asked(source, revision)}): {reason} Check name, revision and token; "
        "without a network pass a local folder, or fetch it once where there is one: with HF_HUB_OFFLINE=1 the cache alone is read."
    )


def _asked(source: object, revision: str | None) -> str:
    return f"{source}, revision {revision or 'main'}"


def _first_line(error: Exception) -> str:
    line = str(error).strip().splitlines()[0].strip() if str(error).strip() else type(error).__name__
    return line if line.endswith((".", "!", "?")) else f"{line}."
