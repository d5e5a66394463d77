from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightguard.serve.wire.body import parse_json
from sightguard.serve.wire.errors import WireError

BAD = {
    "nothing": b"",
    "cut short": b'{"a": ',
    "two values": b"{} {}",
    "Latin-1": b'{"a": "\xe9"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "NaN": b'{"a": NaN}',
    "infinity": b"[-Infinity]",
    "a name twice": b'{"model": "a", "model": "b"}',
    "a name twice, deep": b'[{"a": {"b": 1, "c": 2, "b": 1}}]',
    "too deep": b"[" * 1_000_000,
    "millions of values": b"[" + b"{}," * 1_000_000 + b"1]",
    "too long a number": b"1" * 10_000,
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_json_is_refused(name: str) -> None:
    with pytest.raises(WireError) as raised:
        parse_json(BAD[name])
    assert (raised.value.status, raised.value.code) == (400, "invalid_json")
    json.dumps(raised.value.body()).encode()


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
@settings(max_examples=50, deadline=None)
def test_json_is_read_as_the_standard_library_reads_it(value: object) -> None:
    assert parse_json(json.dumps(value).encode()) == value
