from __future__ import annotations

from typing import get_args

import openai
import pytest
from openai.types import Model

from sightguard.errors import SightguardError
from sightguard.serve.job import Failed, Trouble
from sightguard.serve.wire.errors import WireError, shown, trouble
from sightguard.serve.wire.models import check_model, model, models
from tests.serve.wire.made import GUARD, NAME

STATUS = {
    "bad_request": 400,
    "context_length": 400,
    "deadline": 504,
    "out_of_memory": 503,
    "closing": 503,
    "cancelled": 499,
}


def test_an_error_has_openais_shape_and_is_one_of_ours() -> None:
    error = WireError(400, "no", param="n", code="c")
    assert error.body() == {"error": {"message": "no", "type": "invalid_request_error", "param": "n", "code": "c"}}
    assert isinstance(error, SightguardError)
    assert WireError(400, "\ud800", param="\ud800").body()["error"]["param"] == "\\ud800"


@pytest.mark.parametrize("kind", get_args(Trouble))
def test_every_trouble_has_its_status_and_a_guard_that_raised_is_no_error(kind: Trouble) -> None:
    error = trouble(Failed(kind, "/secret/inner words"))
    if kind == "guard_error":
        assert error is None
        return
    assert error is not None
    assert error.status == STATUS[kind]
    assert ("secret" in error.message) == (error.status == 400), (
        "inner words leave only where the client can act on them"
    )
    assert ("Retry-After" in error.headers) == (error.status == 503)
    assert (error.code == "context_length_exceeded") == (kind == "context_length")


def test_a_clients_words_are_repeated_short_and_printable() -> None:
    assert shown("a\nb\ud800") == "'a\\nb\\ud800'"
    assert len(shown("x" * 10**6)) < 80


def test_the_official_client_reads_the_fields_of_an_error() -> None:
    body = WireError(400, "no", param="n", code="c").body()["error"]
    read = openai.APIError("no", request=None, body=body)  # type: ignore[arg-type]
    assert (read.type, read.param, read.code) == ("invalid_request_error", "n", "c")


def test_the_list_of_models_holds_the_one_that_is_served() -> None:
    body = models(NAME, 1_700_000_000, GUARD)
    assert body == {"object": "list", "data": [model(NAME, 1_700_000_000, GUARD)]}
    read = Model.model_validate(body["data"][0], strict=True)
    assert (read.id, read.created) == (NAME, 1_700_000_000)
    assert body["data"][0]["sightguard"] == {"guard": {"id": GUARD.id, "sha256": GUARD.sha256}}


def test_another_model_is_not_found() -> None:
    check_model(NAME, [NAME])
    with pytest.raises(WireError, match="Known: tiny") as raised:
        check_model("other", [NAME])
    assert (raised.value.status, raised.value.code) == (404, "model_not_found")
