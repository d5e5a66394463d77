"""Where a measured figure comes from: the commit, a hash of the source, and versions."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "sightguard"
PACKAGES = ("torch", "transformers", "numpy")


def source_sha256(folder: Path = SOURCE) -> str:
    """Return one digest over every Python file, weight and template of the package, so that stale results can be noticed."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in {".py", ".safetensors", ".json", ".j2", ".css"} and path.is_file():
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def provenance() -> dict[str, object]:
    """Return what a results file says about its origin."""
    return {
        "commit": _git("rev-parse", "HEAD"),
        "changed_since_commit": bool(_git("status", "--porcelain", "src")),
        "source_sha256": source_sha256(),
        "python": platform.python_version(),
        "versions": {name: version(name).split("+")[0] for name in PACKAGES},
    }


def _git(*words: str) -> str | None:
    asked = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return asked.stdout.strip() or None
