"""Which vision feature belongs to which picture, and where in it: squares, tiles, grids that are told, and what cannot be told."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers.vision_utils import get_vision_window_index

from sightguard.errors import DataError, LayoutNotFound
from sightguard.models.vlm import VLM
from sightguard.safevlm.features import picture_features, question
from sightguard.safevlm.grids import as_read, per_picture
from sightguard.safevlm.readings import words_of
from sightguard.types import Message, Sample
from tests import tiny
from tests.families.catalogue import MAKERS


def test_the_features_are_those_that_enter_the_models_own_projector() -> None:
    vlm = tiny.vlm()
    samples = [sample for sample in tiny.samples() if sample.images]
    found = picture_features(vlm, samples)
    assert [len(shown) for shown in found] == [len(sample.images) for sample in samples]
    for sample, shown in zip(samples, found, strict=True):
        pixels = vlm.encode([sample]).inputs["pixel_values"]
        with torch.no_grad():
            states = vlm.anatomy.vision(pixels, output_hidden_states=True).hidden_states[-1][:, 1:]
        for expected, features in zip(states, shown, strict=True):
            assert features.shape == (1, 4, 4, 16)
            torch.testing.assert_close(features.reshape(16, 16), expected, rtol=1e-4, atol=1e-5)


def test_squares_strips_and_tiles() -> None:
    entered = torch.arange(3 * 6 * 2.0).reshape(3, 6, 2)
    strips = per_picture(entered, 3, {})
    assert strips is not None
    assert [tuple(part.shape) for part in strips] == [(1, 1, 6, 2)] * 3
    squares = per_picture(torch.arange(2 * 9 * 2.0).reshape(2, 9, 2), 2, {})
    assert squares is not None
    assert squares[1].shape == (1, 3, 3, 2)
    assert squares[1][0, 1, 2].tolist() == [18 + 10, 18 + 11], "rows, then columns"
    (tiles,) = per_picture(torch.zeros(5, 9, 2), 1, {}) or []
    assert tiles.shape == (5, 3, 3, 2)
    assert per_picture(torch.zeros(5, 9, 2), 2, {}) is None, "which tile is whose cannot be told"


def test_a_grid_that_is_told_is_laid_out_in_rows_and_columns() -> None:
    """A 4 x 6 picture whose pieces stand in squares of 2 x 2, as Qwen's processors write them."""
    where = torch.stack(torch.meshgrid(torch.arange(4.0), torch.arange(6.0), indexing="ij"), -1)
    squares = where.reshape(2, 2, 3, 2, 2).permute(0, 2, 1, 3, 4).reshape(24, 2)
    other = torch.full((4, 2), 9.0)
    grids = {"image_grid_thw": torch.tensor([[1, 4, 6], [1, 2, 2]])}
    first, second = per_picture(torch.cat([squares, other]), 2, grids, merge=2) or []
    assert torch.equal(first[0], where)
    assert second.shape == (1, 2, 2, 2)
    with pytest.raises(LayoutNotFound, match="the grids of 2 pictures hold 28 pieces, and 27 features entered"):
        per_picture(torch.zeros(27, 2), 2, grids, merge=2)


def test_the_question_is_the_users_words_alone() -> None:
    vlm = tiny.vlm()
    (turns,) = [sample for sample in tiny.samples() if sample.id == "turns"]
    assert words_of(turns) == "what is this ?\nhow do i find the lamp ?"
    system = Sample("s", (Message("system", ("be kind",)), Message("user", ("hi", tiny.picture()))))
    given = question(vlm, [turns, system], first=7)
    assert given.asked.sum(1).tolist() == [len(words_of(turns)), 2], "one token a character"
    assert not bool(given.asked[:, 0].any())
    expected = vlm.model.get_input_embeddings()(torch.tensor([7]))[0]
    assert torch.equal(given.text[0, 0], expected)
    assert torch.equal(given.text[1, 0], expected)
    silent = question(vlm, [Sample("p", (Message("user", (tiny.picture(),)),))], first=7)
    assert silent.asked.tolist() == [[True]], "where no word asks, the start of the prompt does"


def test_a_request_without_a_picture_has_no_features() -> None:
    with pytest.raises(DataError, match="sample 'short' holds no picture; a safety head looks at pictures"):
        picture_features(tiny.vlm(), [sample for sample in tiny.samples() if sample.id == "short"])


def test_pieces_that_were_sorted_by_window_come_back_in_the_order_of_the_picture() -> None:
    vlm = VLM(*MAKERS["qwen2_5_vl"]())
    tower: Any = vlm.anatomy.vision
    grids = torch.tensor([[1, 8, 12], [1, 4, 4]])
    order, _ = get_vision_window_index(
        grids, spatial_merge_size=2, window_size=tower.window_size, patch_size=tower.patch_size
    )
    pieces = torch.randn(8 * 12 + 4 * 4, 5)
    sorted_ = tower.permute_input_for_window_attn(pieces, order, seq_len=len(pieces))
    assert not torch.equal(sorted_, pieces)
    assert torch.equal(as_read(sorted_, {"image_grid_thw": grids}, tower), pieces)
    other = VLM(*MAKERS["qwen2_vl"]()).anatomy.vision
    assert torch.equal(as_read(sorted_, {"image_grid_thw": grids}, other), sorted_), "no windows, nothing sorted"


def test_tiles_that_are_padding_and_proportions_of_the_picture() -> None:
    entered = torch.arange(2 * 3 * 4 * 2.0).reshape(1, 2, 3, 4, 2)
    real = torch.tensor([[[1, 0, 0], [1, 1, 0]]])
    first, second = per_picture(entered, 2, {"aspect_ratio_mask": real}) or []
    assert (first.shape, second.shape) == ((1, 2, 2, 2), (2, 2, 2, 2))
    assert torch.equal(second.flatten(1, 2), entered[0, 1, :2])
    (wide,) = per_picture(torch.zeros(1, 6, 2), 1, {"image_sizes": torch.tensor([[20, 30]])}) or []
    assert wide.shape == (1, 2, 3, 2)
    (classed,) = per_picture(torch.arange(10.0).reshape(1, 10, 1), 1, {}) or []
    assert classed.flatten().tolist() == list(range(1, 10)), "the class token stands for no place"
    half = torch.tensor([[[1, 1], [1, 0]], [[1, 1], [1, 1]]])
    assert per_picture(torch.zeros(2, 4, 2), 2, {"pixel_attention_mask": half}) is None
