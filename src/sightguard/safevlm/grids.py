"""Which vision feature belongs to which picture, and where in it: what enters a model's projector, laid out in rows and columns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sightguard.errors import LayoutNotFound


def per_picture(entered: Tensor, count: int, inputs: Mapping[str, Any], *, merge: int = 1) -> list[Tensor] | None:
    """Split what entered the projector by picture, as `tiles x height x width x channels`; None where that cannot be told.

    Args:
        entered: `tiles x tokens x channels`; `tokens x channels` of all pictures one behind the other; or
            `1 x pictures x tiles x tokens x channels`, padded with empty tiles.
        count: number of pictures.
        inputs: what the image processor gave; `image_grid_thw` tells the grid of each picture, `image_sizes` its pixels,
            `aspect_ratio_mask` which tiles are real.
        merge: side of the squares of pieces that stand together where a grid is told, as their projector merges them.

    Raises:
        LayoutNotFound: the grids that are told do not fit what entered.
    """
    whole = inputs.get("pixel_attention_mask")
    if count > 1 and whole is not None and not whole.all():
        return None  # padded to the size of others: read alone, none is
    if entered.ndim == 5:
        return _tiled(entered, count, inputs)
    grids = inputs.get("image_grid_thw")
    if grids is not None and len(grids) == count:
        return _told(entered.reshape(-1, entered.shape[-1]), grids.tolist(), merge)
    tiles = entered if entered.ndim == 3 else entered[None]
    if count == 1:
        return [_laid_out(tiles, inputs.get("image_sizes"))]
    return list(_laid_out(tiles, None).split(1)) if len(tiles) == count else None


def as_read(entered: Tensor, inputs: Mapping[str, Any], vision: nn.Module) -> Tensor:
    """Bring pieces back into the order of the picture where the vision tower sorted them by window (Qwen2.5-VL).

    Args:
        entered: `pieces x channels`.
        inputs: what the image processor gave.
        vision: the vision tower.
    """
    grids, window = inputs.get("image_grid_thw"), getattr(vision, "window_size", None)
    if grids is None or not window or not hasattr(vision, "permute_input_for_window_attn"):
        return entered
    from transformers.vision_utils import get_vision_window_index

    merge: Any = vision.spatial_merge_size
    order, _ = get_vision_window_index(
        grids, spatial_merge_size=merge, window_size=window, patch_size=vision.patch_size
    )
    units = entered.reshape(-1, merge**2, entered.shape[-1])
    return units[torch.argsort(order)].flatten(0, 1)


def _told(pieces: Tensor, grids: Sequence[Sequence[int]], merge: int) -> list[Tensor]:
    sizes = [t * h * w for t, h, w in grids]
    if len(pieces) * merge**2 == sum(sizes):  # merged before they enter
        grids = [(t, h // merge, w // merge) for t, h, w in grids]
        sizes, merge = [size // merge**2 for size in sizes], 1
    if sum(sizes) != len(pieces):
        raise LayoutNotFound(
            f"the grids of {len(grids)} pictures hold {sum(sizes)} pieces, and {len(pieces)} features entered the projector"
        )
    return [_raster(part, grid, merge) for part, grid in zip(pieces.split(sizes), grids, strict=True)]


def _raster(pieces: Tensor, grid: Sequence[int], merge: int) -> Tensor:
    """Bring pieces that stand in squares of `merge x merge` into rows and columns: `tiles x height x width x channels`."""
    tiles, height, width = grid
    squares = pieces.reshape(tiles, height // merge, width // merge, merge, merge, -1)
    return squares.transpose(2, 3).reshape(tiles, height, width, -1)


def _tiled(entered: Tensor, count: int, inputs: Mapping[str, Any]) -> list[Tensor] | None:
    shown = entered.flatten(0, 1)
    if len(shown) != count:
        return None
    real = inputs["aspect_ratio_mask"].flatten(0, 1).bool()
    return [_laid_out(tiles[there], None) for tiles, there in zip(shown, real, strict=True)]


def _laid_out(tiles: Tensor, pixels: Tensor | None) -> Tensor:
    """Lay tokens out: a square, the proportions of the picture in pixels, a square behind a class token, or else a strip."""
    tokens = tiles.shape[1]
    side = math.isqrt(tokens)
    if side * side == tokens:
        return tiles.reshape(len(tiles), side, side, -1)
    if pixels is not None and len(tiles) == len(pixels) == 1:
        height, width = pixels[0].tolist()
        rows = round(math.sqrt(tokens * height / width))
        if rows and tokens % rows == 0 and height * (tokens // rows) == width * rows:
            return tiles.reshape(1, rows, tokens // rows, -1)
    side = math.isqrt(tokens - 1)
    if side and side * side == tokens - 1:
        return tiles[:, 1:].reshape(len(tiles), side, side, -1)
    return tiles[:, None]  # a strip, which convolutions read along its length
