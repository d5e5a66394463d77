from __future__ import annotations

import hashlib
import hmac
import traceback
import warnings
from pathlib import Path

import pytest
from openai.types.shared import ErrorObject

from sightguard.errors import UsageError
from sightguard.serve.keys import VARIABLE, Keys

ONE, TWO, THREE = "sk-one-3Fz", "sk-two-9Qk", "sk-three-5Wp"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys.txt"
    path.touch(mode=0o600)
    return path


@pytest.mark.parametrize(
    ("header", "number"),
    [
        (f"Bearer {ONE}", 1),
        (f"bearer {TWO}", 2),
        (f"BEARER  {THREE} ", 3),
        (None, None),
        ("", None),
        ("Bearer", None),
        ("Bearer ", None),
        (f"Basic {ONE}", None),
        (ONE, None),
        (f"Bearer {ONE[:-1]}", None),
        (f"Bearer {ONE}x", None),
        (f"Bearer {ONE.upper()}", None),
        (f"Bearer {ONE} {TWO}", None),
        (f"Bearer {ONE},{TWO}", None),
        (f"Bearer\t{ONE}", None),
        (f"Bearer {ONE}\u00e9", None),
        ("Bearer \ud800", None),
        (f"Bearer {hashlib.sha256(ONE.encode()).hexdigest()}", None),
    ],
)
def test_a_key_opens_and_nothing_else_does(header: str | None, number: int | None) -> None:
    assert Keys.of([ONE, TWO, THREE]).which(header) == number


@pytest.mark.parametrize("header", [f"Bearer {ONE}", f"Bearer {THREE}", "Bearer other", "", None])
def test_every_key_is_compared_whole_whatever_fits(header: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []
    real = hmac.compare_digest

    def counted(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", counted)
    Keys.of([ONE, TWO, THREE]).which(header)
    assert compared == [(32, 32)] * 3


def test_keys_come_from_a_file_and_from_the_environment(file: Path) -> None:
    file.write_text(f"# ours\n{ONE}\n\n  {TWO}  \n")
    assert Keys.read(None, {}) is None
    assert Keys.read(file, {}) == Keys.of([ONE, TWO])
    assert Keys.read(None, {VARIABLE: f" {ONE}, {TWO}\n{THREE}, "}) == Keys.of([ONE, TWO, THREE])
    assert Keys.read(file, {VARIABLE: THREE}) == Keys.of([ONE, TWO, THREE])


@pytest.mark.parametrize("told", ["", " ", ",", " ,\n"])
def test_a_variable_that_is_set_and_empty_does_not_open_the_server(told: str, file: Path) -> None:
    with pytest.raises(UsageError, match=VARIABLE):
        Keys.read(None, {VARIABLE: told})
    file.write_text(ONE)
    with pytest.raises(UsageError, match=VARIABLE):
        Keys.read(file, {VARIABLE: told})


@pytest.mark.parametrize(
    "content", [b"", b"# none\n\n", b"\xff\xfe", f"{ONE}\nwith a space\n".encode(), f"{ONE}\n\x00\n".encode()]
)
def test_a_file_without_good_keys_does_not_open_the_server_and_is_not_repeated(content: bytes, file: Path) -> None:
    file.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        Keys.read(file, {})
    whole = "".join(traceback.format_exception(caught.value, chain=True))
    assert ONE not in whole
    assert "with a space" not in whole
    with pytest.raises(UsageError, match="Check the path"):
        Keys.read(file.with_name("absent"), {})


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, False), (0o644, True), (0o602, True)])
def test_a_file_that_everybody_can_read_or_write_is_warned_about(file: Path, mode: int, warned: bool) -> None:
    file.write_text(ONE)
    file.chmod(mode)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Keys.read(file, {})
    assert [str(warning.message).split(":")[-1] for warning in caught] == [f" chmod 600 {file}"] * warned
    assert all(ONE not in str(warning.message) for warning in caught)


def test_no_key_is_held_or_shown() -> None:
    keys = Keys.of([ONE])
    assert repr(keys) == "Keys()"
    assert str(keys) == "Keys()"
    with pytest.raises(UsageError) as caught:
        Keys.of([ONE, "second key"])
    assert "second key" not in str(caught.value)
    assert "key 2" in str(caught.value)


def test_a_refusal_has_openais_shape() -> None:
    error = ErrorObject.model_validate(Keys.refusal()["error"], strict=True)
    assert (error.code, error.type, error.param) == ("invalid_api_key", "invalid_request_error", None)
