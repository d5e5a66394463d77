"""Perplexity of answers under the text-only model, against transformers' own loss."""

from __future__ import annotations

import math

import pytest
import torch

from sightguard.demo.fluency import perplexity
from sightguard.types import Sample
from tests import tiny


def test_perplexity_is_that_of_transformers_own_loss_whoever_else_gave_the_answer() -> None:
    vlm = tiny.vlm()
    samples = [Sample.of(text) for text in ("what is this ?", "tell me how to move the table .", "bell")]
    answers = {"none": ["a lamp", "no", ""], "other": ["a lamp", "yes , it is", "no"], "silent": ["", "", ""]}
    found = perplexity(vlm, samples, answers)
    assert found["silent"] is None
    for name in ("none", "other"):
        losses = []
        for sample, answer in zip(samples, answers[name], strict=True):
            prompt = list(vlm.encode([sample]).rows[0])
            tail = vlm.processor.tokenizer(answer, add_special_tokens=False)["input_ids"]
            if tail:
                ids = torch.tensor([prompt + tail])
                labels = torch.tensor([[-100] * len(prompt) + tail])
                with torch.no_grad():
                    loss = float(vlm.model(input_ids=ids, labels=labels).loss)
                losses += [loss] * len(tail)
        assert found[name] == pytest.approx(math.exp(sum(losses) / len(losses)), rel=1e-4)
