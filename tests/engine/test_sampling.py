"""A token is drawn with its probability, top_p is transformers' own, and a seed is a row's alone."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import chisquare
from transformers import TopPLogitsWarper

from sightguard.engine.sampling import Draw, nucleus
from sightguard.serve.job import Decoding

SCORES = torch.tensor([2.0, 1.0, 0.5, -1.0, 3.0, 0.0])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
def test_tokens_are_drawn_with_the_probabilities_of_softmax(temperature: float) -> None:
    draw = Draw(Decoding(max_tokens=1, temperature=temperature), 7)
    n = 20_000
    counts = torch.bincount(torch.stack([draw(SCORES).argmax() for _ in range(n)]), minlength=6)
    expected = torch.softmax(SCORES.double() / temperature, 0) * n
    assert chisquare(counts.numpy(), expected.numpy()).pvalue > 1e-4


@pytest.mark.parametrize("top_p", [0.01, 0.3, 0.7, 0.9, 0.999])
def test_the_nucleus_is_that_of_transformers(top_p: float) -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(50):
        likely = torch.log_softmax(4 * torch.randn(40, generator=generator), -1)
        theirs = TopPLogitsWarper(top_p)(None, likely[None])[0]
        assert torch.equal(nucleus(likely, top_p).isfinite(), theirs.isfinite())


@pytest.mark.parametrize("temperature", [0.0, 1e-300, 1e-40])
def test_greedy_is_the_scores_as_they_are(temperature: float) -> None:
    assert Draw(Decoding(max_tokens=1, temperature=temperature), 1)(SCORES) is SCORES


def test_equal_seeds_draw_equally_and_others_do_not() -> None:
    def drawn(seed: int) -> list[int]:
        draw = Draw(Decoding(max_tokens=1), seed)
        return [int(draw(SCORES).argmax()) for _ in range(30)]

    assert drawn(3) == drawn(3)
    assert drawn(3) != drawn(4)
