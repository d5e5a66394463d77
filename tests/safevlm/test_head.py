"""The safety head: which words decide, and that padding never does."""

from __future__ import annotations

import pytest
import torch

from sightguard.errors import UsageError
from sightguard.safevlm.head import SafetyHead, padded


def inputs(n: int = 3, words: int = 5, seen: int = 7, hidden: int = 16) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    asked = torch.ones(n, words, dtype=torch.bool)
    asked[:, 0] = False
    return torch.randn(n, words, hidden), asked, torch.randn(n, seen, hidden), torch.ones(n, seen, dtype=torch.bool)


def head(query: str) -> SafetyHead:
    torch.manual_seed(1)
    return SafetyHead(16, 3, 4, heads=4, query=query).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize("query", ["first", "pooled"])
def test_the_head_is_the_formula(query: str) -> None:
    made = head(query)
    text, asked, seen, there = inputs()
    w = made.attention.state_dict()
    if query == "pooled":
        normed = [
            (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
            for x in (text, seen)
        ]
    else:
        normed = [text, seen]
    q, k, v = (
        x @ w["in_proj_weight"][16 * i : 16 * (i + 1)].T + w["in_proj_bias"][16 * i : 16 * (i + 1)]
        for i, x in enumerate((normed[0], normed[1], normed[1]))
    )
    parts = []
    for h in range(4):
        scores = q[:, :, 4 * h : 4 * h + 4] @ k[:, :, 4 * h : 4 * h + 4].transpose(1, 2) / 2
        parts.append(scores.softmax(-1) @ v[:, :, 4 * h : 4 * h + 4])
    out = torch.cat(parts, -1) @ w["out_proj.weight"].T + w["out_proj.bias"]
    pooled = out[:, 0] if query == "first" else out[:, 1:].mean(1)
    types, levels = made(text, asked, seen, there)
    torch.testing.assert_close(types, made.to_type(pooled))
    torch.testing.assert_close(levels, made.to_level(pooled))


@pytest.mark.parametrize("query", ["first", "pooled"])
def test_padding_changes_nothing(query: str) -> None:
    made = head(query)
    text, asked, seen, there = inputs()
    plain = made(text, asked, seen, there)
    more_text = torch.cat([text, torch.randn(3, 4, 16)], 1)
    more_asked = torch.cat([asked, torch.zeros(3, 4, dtype=torch.bool)], 1)
    more_seen = torch.cat([seen, torch.randn(3, 2, 16)], 1)
    more_there = torch.cat([there, torch.zeros(3, 2, dtype=torch.bool)], 1)
    for a, b in zip(plain, made(more_text, more_asked, more_seen, more_there), strict=True):
        torch.testing.assert_close(a, b)


def test_first_is_constant_in_the_question_and_pooled_is_not() -> None:
    text, asked, seen, there = inputs()
    other = torch.cat([text[:, :1], torch.randn(3, 4, 16)], 1)
    first, pooled = head("first"), head("pooled")
    torch.testing.assert_close(first(text, asked, seen, there), first(other, asked, seen, there))
    moved = (pooled(text, asked, seen, there)[0] - pooled(other, asked, seen, there)[0]).abs().amax(1)
    assert bool((moved > 1e-3).all())


def test_the_picture_matters_to_both() -> None:
    text, asked, seen, there = inputs()
    for query in ("first", "pooled"):
        made = head(query)
        moved = (made(text, asked, seen, there)[0] - made(text, asked, seen.flip(0), there)[0]).abs().amax(1)
        assert float(moved[0].detach()) > 1e-3


def test_rows_of_different_length_are_padded_behind() -> None:
    values, there = padded([torch.ones(2, 4), torch.ones(3, 4)])
    assert values.shape == (2, 3, 4)
    assert there.tolist() == [[True, True, False], [True, True, True]]
    assert float(values[0, 2].abs().sum()) == 0


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match=r"the width of the model \(16\) does not divide into 5 attention heads"):
        SafetyHead(16, 3, 4, heads=5)
    with pytest.raises(UsageError, match="query is 'first' or 'pooled'; got 'last'"):
        SafetyHead(16, 3, 4, heads=4, query="last")  # type: ignore[arg-type]
