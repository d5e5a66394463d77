"""The files in deploy/ speak of this program: what they copy is there, what they start it with exists, and their limits are its own."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from sightguard.cli.app import app
from sightguard.models.vlm import VLM
from sightguard.pocket import world
from sightguard.pocket.locate import NAMES
from sightguard.serve.service import Service
from sightguard.serve.settings import Settings
from tests.conftest import ROOT
from tests.serve.running import Scripted, post, running

DEPLOY = ROOT / "deploy"


def dockerfile() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile in order, comments and line ends taken out."""
    text = re.sub(r"^\s*#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def of(instruction: str) -> list[str]:
    return [told for name, told in dockerfile() if name == instruction]


def unit() -> dict[str, list[str]]:
    """The lines of the unit by name, over all sections; a name may come more than once."""
    found: dict[str, list[str]] = {}
    for line in (DEPLOY / "sightguard.service").read_text().splitlines():
        if line and line[0] not in "#[":
            name, sign, value = line.partition("=")
            assert sign, line
            found.setdefault(name, []).append(value)
    return found


def parsed(words: list[str]) -> dict[str, Any]:
    """What `sightguard serve` makes of these words; an option that it does not know is an error."""
    command = typer.main.get_command(app).commands["serve"]  # type: ignore[attr-defined]
    told: dict[str, Any] = command.make_context("serve", list(words)).params
    return told


def test_what_the_image_copies_is_there_and_is_let_into_the_build() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    sources = [word for told in of("COPY") if not told.startswith("--from") for word in told.split()[:-1]]
    assert set(sources) == let_in
    for source in sources:
        assert (ROOT / source).exists()
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {needed["readme"], *needed["license-files"], "pyproject.toml", "src"} <= set(sources)


def test_every_other_file_stays_out_of_the_build() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0] == "*"


def test_the_image_starts_what_can_be_started_and_is_asked_where_it_listens() -> None:
    program, verb, *options = yaml.safe_load(of("ENTRYPOINT")[0])
    assert (program, verb) == ("sightguard", "serve")
    told = parsed([*options, *yaml.safe_load(of("CMD")[0])])
    assert (told["host"], told["model"]) == ("0.0.0.0", "pocket")
    assert "pocket" in NAMES
    health = of("HEALTHCHECK")[0]
    assert f"http://127.0.0.1:{told['port']}/healthz" in health
    assert of("EXPOSE") == [str(told["port"])]
    # what is asked is Python that runs in an image without curl
    program, flag, code = yaml.safe_load(health.partition("CMD ")[2])
    compile(code, "healthcheck", "exec")
    assert (program, flag) == ("python", "-c")


def test_the_image_runs_as_nobody_and_its_torch_is_the_tested_one() -> None:
    names = [name for name, _ in dockerfile()]
    uid = of("USER")[-1].split(":")[0]
    assert int(uid) > 0
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert "ROOT" not in " ".join(of("USER")).upper()
    torch = next(told for told in of("ARG") if told.startswith("TORCH="))
    assert torch.removeprefix("TORCH=") in (ROOT / "constraints.txt").read_text().splitlines()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    installed = re.findall(r"'\.\[(\w+)\]'", " ".join(of("RUN")))
    assert installed == ["serve"]
    assert set(installed) <= set(extras)


def test_the_unit_starts_what_can_be_started() -> None:
    (line,) = unit()["ExecStart"]
    line = line.replace("${SIGHTGUARD_MODEL}", "pocket").replace("$SIGHTGUARD_OPTIONS", "--batch 4")
    program, verb, *options = shlex.split(line.replace("%d", "/run/credentials"))
    assert (Path(program).name, verb) == ("sightguard", "serve")
    told = parsed(options)
    assert (told["host"], told["batch"], told["playground"]) == ("127.0.0.1", 4, False)
    assert told["api_keys"].name == unit()["LoadCredential"][0].partition(":")[0]
    assert told["audit_log"].parent == Path("/var/lib") / unit()["StateDirectory"][0]
    assert "SIGHTGUARD_MODEL=" in (ROOT / "docs" / "serve-deploy.md").read_text()


def test_a_refusal_to_start_is_not_tried_again_and_a_crash_is() -> None:
    assert unit()["Restart"] == ["on-abnormal"]


def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    """Where systemd is installed it is asked; everywhere the sections and the shape of each line are checked."""
    text = (DEPLOY / "sightguard.service").read_text()
    assert re.findall(r"^\[(\w+)\]$", text, re.MULTILINE) == ["Unit", "Service", "Install"]
    assert all(
        value or name in ("CapabilityBoundingSet", "AmbientCapabilities") for name, (value, *_) in unit().items()
    )
    if (program := shutil.which("systemd-analyze")) is not None:
        file = tmp_path / "sightguard.service"
        file.write_text(text.replace("/usr/local/lib/sightguard/bin/sightguard", "/bin/true"))
        done = subprocess.run([program, "verify", str(file)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_nginx_lets_in_what_the_server_takes_and_holds_no_stream_back() -> None:
    text = re.sub(r"#.*", "", (DEPLOY / "gateway" / "nginx.conf").read_text())
    assert text.count("{") == text.count("}") == 4
    body = [line.strip() for line in text.splitlines() if line.strip()]
    assert all(line.endswith((";", "{", "}")) for line in body)
    told = dict(re.findall(r"^\s*(\w+) (\S+?);$", text, re.MULTILINE))
    assert int(told["client_max_body_size"].removesuffix("m")) * 2**20 == Settings().max_body
    assert told["proxy_buffering"] == told["proxy_next_upstream"] == "off"
    assert float(told["proxy_read_timeout"].removesuffix("s")) > Settings().deadline
    assert "proxy_pass http://sightguard;" in text
    assert f"server 127.0.0.1:{Settings().port};" in text


def passed_on() -> dict[str, str]:
    """The headers that nginx sets on what it passes on, with the variables as they are for a client elsewhere."""
    text = re.sub(r"#.*", "", (DEPLOY / "gateway" / "nginx.conf").read_text())
    known = {
        "$host": "vlm.example.org",
        "$http_host": "vlm.example.org",
        "$remote_addr": "192.0.2.7",
        "$scheme": "https",
    }
    found = re.findall(r"proxy_set_header\s+(\S+)\s+(\S+);", text)
    # what nginx sends where the file says nothing: the name of the upstream
    return {"Host": "sightguard"} | {name: known.get(value, value).strip('"') for name, value in found}


def test_the_server_of_the_unit_answers_what_nginx_passes_on() -> None:
    (line,) = unit()["ExecStart"]
    told = parsed(shlex.split(line.replace("${SIGHTGUARD_MODEL}", "pocket").replace("$SIGHTGUARD_OPTIONS", ""))[2:])
    headers = passed_on()
    assert not any("$" in value for value in headers.values())
    assert {"Host", "X-Forwarded-For"} <= set(headers)
    settings = Settings(host=told["host"], playground=told["playground"])
    assert settings.host == Settings().host
    with running(Service(Scripted(), settings)) as port:
        status, _, body = post(
            port,
            "/v1/chat/completions",
            {"model": "tiny", "messages": [{"role": "user", "content": "hello"}]},
            **headers,
        )
    assert (status, b"foreign_host" in body) == (200, False)


def test_the_gateway_asks_this_server_alone_and_changes_nothing() -> None:
    told = yaml.safe_load((DEPLOY / "gateway" / "litellm.yaml").read_text())
    (model,) = told["model_list"]
    asked = model["litellm_params"]
    assert asked["api_base"] == f"http://127.0.0.1:{Settings().port}/v1"
    assert asked["model"].partition("/")[0] == "openai"
    assert min(asked["timeout"], asked["stream_timeout"]) > Settings().deadline
    settings = told["litellm_settings"]
    assert settings == {"drop_params": False, "num_retries": 0, "fallbacks": [], "default_fallbacks": []}


def test_the_source_archive_takes_them_along() -> None:
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert {"/deploy", "/.dockerignore"} <= set(told)


def test_sizes_are_those_of_a_model_that_is_loaded_and_asked() -> None:
    from transformers import DynamicCache

    from scripts.sizing import size

    vlm = VLM.load("pocket")
    (sample,) = world.settings("validation", 1)["blank_image"]
    inputs = vlm.encode([sample]).inputs
    cache = DynamicCache()
    vlm.model(**inputs, past_key_values=cache, use_cache=True)
    held = sum(one.keys.numel() + one.values.numel() for one in cache.layers)
    found = size(vlm.model.config)
    assert found["parameters"] == sum(one.numel() for one in vlm.model.parameters())
    assert found["cache_per_token"] * inputs["input_ids"].shape[1] == held


def test_a_model_that_keeps_more_than_keys_and_values_is_not_sized() -> None:
    from transformers import AutoConfig

    from scripts.sizing import size

    text = {
        "hidden_size": 32,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
    }
    vision = {"depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 32}
    config = AutoConfig.for_model("qwen3_5", text_config={**text, "intermediate_size": 32}, vision_config=vision)
    with pytest.raises(SystemExit, match="state-space"):
        size(config)
