"""Whether this computer can run Sightguard: one check a line, each with what to do about it.

torch and transformers are imported inside the checks, so that reading this file costs nothing and a broken
installation is a finding, not a crash.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Check:
    """What one check found. Checks of a model (`sightguard.doctor`) are such records too."""

    name: str
    status: Literal["pass", "fail", "n/a"]
    measured: float | str | None = None
    tolerance: float | str | None = None
    """What was allowed; `measured` is a number where this is one."""
    detail: str = ""
    """What to do or to know; often empty when all is well."""


def examine() -> list[Check]:
    """Run every check and return the findings in order; a check that crashes is itself a failure."""
    return [_guarded(name, check) for name, check in CHECKS.items()]


def check_python() -> Check:
    """Say which Python this is; an older one than we support could not have installed Sightguard."""
    return Check("python", "pass", f"{platform.python_version()} ({platform.system()} {platform.machine()})")


def check_torch() -> Check:
    """Fail if torch is older than we support."""
    version = import_module("torch").__version__
    if _release(version) < (2, 6):
        return Check("torch", "fail", version, ">= 2.6", "pip install 'torch>=2.6'")
    return Check("torch", "pass", version, ">= 2.6")


def check_transformers() -> Check:
    """Fail if transformers is of a major version that we do not support, or cannot be imported."""
    version, allowed = metadata.version("transformers"), ">= 5.0, < 6"
    if not (5,) <= _release(version) < (6,):
        return Check("transformers", "fail", version, allowed, "pip install 'transformers>=5.0,<6'")
    import_module("transformers")
    return Check("transformers", "pass", version, allowed)


def check_torchvision() -> Check:
    """Fail if torchvision is there and broken: transformers then cannot import a single model."""
    if find_spec("torchvision") is None:
        return Check("torchvision", "n/a", detail="not installed, and not needed")
    try:
        version = import_module("torchvision").__version__
    except Exception as error:
        advice = "It was built for another torch. pip uninstall torchvision, or install the build that fits your torch."
        return Check("torchvision", "fail", f"broken: {_first_line(error)}", detail=advice)
    return Check("torchvision", "pass", version)


def check_device() -> Check:
    """Say where models would run."""
    torch = import_module("torch")
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        return Check("device", "pass", f"cpu, {torch.get_num_threads()} threads")
    name = f": {torch.cuda.get_device_name()}" if accelerator.type == "cuda" else ""
    return Check("device", "pass", f"{accelerator.type}{name}")


def check_dtypes() -> Check:
    """Multiply a small matrix in every precision that we use, on the device that would be used."""
    torch = import_module("torch")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    works: list[str] = []
    fails: list[str] = []
    for name in ("float32", "float64", "bfloat16", "float16"):
        try:
            square = torch.ones(4, 4, dtype=getattr(torch, name), device=device)
            (works if float((square @ square).sum()) == 64.0 else fails).append(name)
        except RuntimeError:
            fails.append(name)
    needed = {"float32", "float64"} & set(fails)
    advice = f"{', '.join(fails)} does not work here; load with dtype float32." if fails else ""
    return Check("precision", "fail" if needed else "pass", ", ".join(works), "float32, float64", advice)


def check_memory() -> Check:
    """Say how much memory is free; little is no failure, because models differ in what they need."""
    available = available_memory()
    if available is None:
        return Check("memory", "n/a", detail="this system does not say")
    advice = "The embedded model needs about 2 GiB; a 7B model in bfloat16 about 16." if available < 2 * GIB else ""
    return Check("memory", "pass", f"{available / GIB:.1f} GiB available", detail=advice)


def check_device_memory() -> Check:
    """Say how much memory of the accelerator is free."""
    torch = import_module("torch")
    if not torch.cuda.is_available():
        return Check("device memory", "n/a", detail="no CUDA device")
    free, whole = torch.cuda.mem_get_info()
    return Check("device memory", "pass", f"{free / GIB:.1f} of {whole / GIB:.1f} GiB free")


def check_disk() -> Check:
    """Say how much room the current folder has."""
    free = shutil.disk_usage(Path.cwd()).free
    advice = "Runs and downloaded models need room; free some or work in another folder." if free < GIB else ""
    return Check("disk", "pass", f"{free / GIB:.1f} GiB free in the current folder", detail=advice)


def available_memory() -> int | None:
    """Return the bytes of memory that a new process could use, or None where the system does not say."""
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        for line in meminfo.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


CHECKS: dict[str, Callable[[], Check]] = {
    "python": check_python,
    "torch": check_torch,
    "torchvision": check_torchvision,
    "transformers": check_transformers,
    "device": check_device,
    "precision": check_dtypes,
    "memory": check_memory,
    "device memory": check_device_memory,
    "disk": check_disk,
}


def failed(checks: Iterable[Check]) -> bool:
    """Return whether anything stands in the way."""
    return any(check.status == "fail" for check in checks)


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except Exception as error:
        found = f"{type(error).__name__}: {_first_line(error)}"
        return Check(name, "fail", found, detail="Install Sightguard again in a new environment.")


def _release(version: str) -> tuple[int, ...]:
    numbers = version.split("+")[0].split(".")
    return tuple(int(number) for number in numbers if number.isdigit())


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
