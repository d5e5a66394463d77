"""Guards on the hub: fetched by huggingface_hub itself from a cache of its own layout, put there through its API."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import torch
import yaml
from huggingface_hub import HfApi

from sightguard.errors import ArtifactError, ModelError, OutputError
from sightguard.hub import is_hub_id
from sightguard.models.vlm import VLM
from sightguard.safevlm.model import SafeVLM
from sightguard.steering.steer import steer
from sightguard.steering.vlm_guard import VlmGuard
from tests import tiny
from tests.safevlm import made as made_safevlm
from tests.steering import made

COMMIT = "1234567890abcdef1234567890abcdef12345678"


def cached(cache: Path, repo: str, folder: Path) -> None:
    """Put a folder into a cache of huggingface's own layout, as a download of the main branch leaves it."""
    home = cache / f"models--{repo.replace('/', '--')}"
    shutil.copytree(folder, home / "snapshots" / COMMIT)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(COMMIT)


@pytest.fixture
def guard() -> VlmGuard:
    vectors = torch.stack([made.orthonormal(3, 4, seed) for seed in range(2)])
    return VlmGuard(made.directions(vectors), made.FINGERPRINT, (0, 1), m=2, threshold="literal")


@pytest.mark.parametrize("revision", ["main", COMMIT])
def test_a_guard_is_fetched_by_its_hub_id_without_a_network(guard: VlmGuard, tmp_path: Path, revision: str) -> None:
    cached(tmp_path / "cache", "owner/guard", guard.save_pretrained(tmp_path / "guard"))
    found = VlmGuard.from_pretrained("owner/guard", revision=revision, cache_dir=tmp_path / "cache")
    assert replace(found, directions=guard.directions) == guard
    assert torch.equal(found.directions.vectors, guard.directions.vectors)


def test_a_guard_without_a_revision_warns(guard: VlmGuard, tmp_path: Path) -> None:
    cached(tmp_path / "cache", "owner/guard", guard.save_pretrained(tmp_path / "guard"))
    with pytest.warns(UserWarning, match="owner/guard is loaded without a revision.*Pass revision="):
        VlmGuard.from_pretrained("owner/guard", cache_dir=tmp_path / "cache")


def test_model_and_guard_from_the_hub_answer_as_from_folders(tmp_path: Path) -> None:
    place, cache = tmp_path / "checkpoint", tmp_path / "cache"
    tiny.llava().save_pretrained(place)
    tiny.processor().save_pretrained(place)
    cached(cache, "owner/model", place)
    vlm = VLM.load("owner/model", revision=COMMIT, cache_dir=cache, device="cpu")
    assert (vlm.fingerprint.repo, vlm.fingerprint.revision) == ("owner/model", COMMIT)
    assert VLM.load("owner/model", revision="main", cache_dir=cache, device="cpu").fingerprint.repo == "owner/model"
    made_here = tiny.guard(vlm)
    cached(cache, "owner/guard", made_here.save_pretrained(tmp_path / "guard"))
    fetched = VlmGuard.from_pretrained("owner/guard", revision=COMMIT, cache_dir=cache)
    asked = tiny.samples()[:3]
    theirs, ours = (steer(vlm, one).generate(asked, max_new_tokens=3) for one in (fetched, made_here))
    assert [answer.text for answer in theirs] == [answer.text for answer in ours]


def test_a_safevlm_is_put_on_the_hub_and_fetched(sent: dict[str, Any], tmp_path: Path) -> None:
    safe = made_safevlm.safe()
    safe.push_to_hub("owner/safe", about={"license": "mit"})
    assert sorted(sent["upload"]["files"]) == ["README.md", "modules.safetensors", "safevlm.json"]
    known = yaml.safe_load(sent["upload"]["files"]["README.md"].split("---\n")[1])
    assert (known["library_name"], known["license"]) == ("sightguard", "mit")
    cached(tmp_path / "cache", "owner/safe", safe.save_pretrained(tmp_path / "safe"))
    options: dict[str, Any] = {"revision": "main", "cache_dir": tmp_path / "cache"}
    found = SafeVLM.from_pretrained("owner/safe", safe.vlm, **options)
    for name, tensor in safe.modules.state_dict().items():
        assert torch.equal(found.modules.state_dict()[name], tensor)
    with pytest.raises(ArtifactError, match="owner/none, revision main"):
        SafeVLM.from_pretrained("owner/none", safe.vlm, **options)


@pytest.mark.parametrize("revision", ["main", COMMIT])
def test_a_hub_out_of_reach_says_what_was_asked_and_what_helps(tmp_path: Path, revision: str) -> None:
    told = f"owner/guard, revision {revision}.*local folder.*HF_HUB_OFFLINE"
    with pytest.raises(ArtifactError, match=told):
        VlmGuard.from_pretrained("owner/guard", revision=revision, cache_dir=tmp_path)
    with pytest.raises(ModelError, match=told.replace("guard", "model")):
        VLM.load("owner/model", revision=revision, cache_dir=tmp_path, device="cpu")


def test_a_repository_without_a_guard_is_told(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    cached(tmp_path / "cache", "owner/model", tmp_path / "model")
    with pytest.raises(ArtifactError, match=r"owner/model, revision main on the hub holds no guard: guard\.json"):
        VlmGuard.from_pretrained("owner/model", revision="main", cache_dir=tmp_path / "cache")


def test_only_files_of_ours_are_fetched(guard: VlmGuard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def download(repo: str, **options: Any) -> str:
        asked.update(options, repo=repo)
        return str(guard.save_pretrained(tmp_path / "guard"))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    VlmGuard.from_pretrained("owner/guard", revision=COMMIT, token="t")
    assert (asked["repo"], asked["revision"], asked["token"]) == ("owner/guard", COMMIT, "t")
    assert asked["allow_patterns"] == ["*.json", "*.safetensors", "*.md"]


def test_a_folder_and_a_path_are_never_asked_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "guards" / "mine").mkdir(parents=True)
    assert is_hub_id("owner/name")
    for source in ("guards/mine", "/a/b", "./a", "a", "a/b/c", "../a", Path("owner/name")):
        assert not is_hub_id(source)
    with pytest.raises(ArtifactError, match="no guard at 'owner/name'"):
        VlmGuard.from_pretrained(Path("owner/name"))


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What reaches the hub's API, with the files of the folder."""
    seen: dict[str, Any] = {}

    def create(api: HfApi, repo: str, **options: Any) -> Any:
        seen["create"] = {"repo": repo, "token": api.token, **options}
        return SimpleNamespace(repo_id=repo if "/" in repo else f"me/{repo}")

    def upload(api: HfApi, *, folder_path: Path, **options: Any) -> Any:
        seen["upload"] = {
            **options,
            "files": {p.name: p.read_text(errors="replace") for p in Path(folder_path).iterdir()},
        }
        return SimpleNamespace(commit_url="https://the.hub/commit")

    monkeypatch.setattr(HfApi, "create_repo", create)
    monkeypatch.setattr(HfApi, "upload_folder", upload)
    monkeypatch.setattr(HfApi, "create_branch", lambda api, repo, **options: seen.update(branch=options["branch"]))
    return seen


def test_a_guard_is_put_on_the_hub_with_a_card(guard: VlmGuard, sent: dict[str, Any]) -> None:
    url = guard.push_to_hub(
        "owner/guard", private=True, commit_message="First", revision="v1", token="t", license="mit"
    )
    assert url == "https://the.hub/commit"
    assert sent["create"] == {"repo": "owner/guard", "token": "t", "private": True, "exist_ok": True}
    assert (sent["branch"], sent["upload"]["revision"], sent["upload"]["commit_message"]) == ("v1", "v1", "First")
    assert sent["upload"]["allow_patterns"] == ["*.json", "*.safetensors", "*.md"]
    assert sorted(sent["upload"]["files"]) == ["README.md", "directions.safetensors", "guard.json"]
    _, head, body = sent["upload"]["files"]["README.md"].split("---\n", 2)
    known = yaml.safe_load(head)
    assert (known["library_name"], known["base_model"], known["license"]) == ("sightguard", "made/by-hand", "mit")
    assert "vlm-guard" in known["tags"]
    assert "## Measured effect" in body
    assert "## Limits" in body


def test_a_card_names_no_license_and_no_model_that_is_not_on_the_hub(guard: VlmGuard, tmp_path: Path) -> None:
    local = replace(guard, fingerprint=replace(guard.fingerprint, repo="pocket"))
    known = yaml.safe_load((local.save_pretrained(tmp_path / "g") / "README.md").read_text().split("---\n")[1])
    assert known.keys() == {"library_name", "tags"}


def test_saving_may_push_too(guard: VlmGuard, sent: dict[str, Any], tmp_path: Path) -> None:
    guard.save_pretrained(tmp_path / "kept", push_to_hub=True)
    assert sent["upload"]["repo_id"] == "me/kept"
    assert (tmp_path / "kept" / "guard.json").is_file()
    guard.save_pretrained(tmp_path / "other", push_to_hub=True, repo_id="owner/other", private=False)
    assert (sent["upload"]["repo_id"], sent["create"]["private"]) == ("owner/other", False)


def test_a_push_that_fails_says_what_helps(guard: VlmGuard) -> None:
    with pytest.raises(OutputError, match="nothing could be put on the hub .owner/guard.*hf auth login"):
        guard.push_to_hub("owner/guard")
