"""The C-Abstractor against plain loops, and what it does to grids and tiles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sightguard.safevlm.projector import Block, CAbstractor, MLPProjector, project

Array = NDArray[np.float64]


def weights(module: torch.nn.Module) -> dict[str, Array]:
    return {name: tensor.detach().double().numpy() for name, tensor in module.state_dict().items()}


def silu(x: Array) -> Array:
    out: Array = x / (1 + np.exp(-x))
    return out


def norm(grid: Array, scale: Array, shift: Array) -> Array:
    """LayerNorm over channels of `height x width x channels`."""
    mean = grid.mean(-1, keepdims=True)
    out: Array = (grid - mean) / np.sqrt(grid.var(-1, keepdims=True) + 1e-6) * scale + shift
    return out


def block(grid: Array, w: dict[str, Array]) -> Array:
    """A RegNet block by loops on `height x width x channels`, from the paper's words."""
    height, width, _ = grid.shape
    x = silu(norm(grid @ w["enter.weight"][:, :, 0, 0].T, w["enter_norm.weight"], w["enter_norm.bias"]))
    near = np.zeros_like(x)
    for row in range(height):
        for column in range(width):
            for down in (-1, 0, 1):
                for right in (-1, 0, 1):
                    if 0 <= row + down < height and 0 <= column + right < width:
                        near[row, column] += x[row + down, column + right] * w["near.weight"][:, 0, down + 1, right + 1]
    x = silu(norm(near, w["near_norm.weight"], w["near_norm.bias"]))
    squeezed = silu(x.mean((0, 1)) @ w["weigh.down.weight"][:, :, 0, 0].T + w["weigh.down.bias"])
    excited = squeezed @ w["weigh.up.weight"][:, :, 0, 0].T + w["weigh.up.bias"]
    x = x / (1 + np.exp(-excited))
    x = norm(x @ w["leave.weight"][:, :, 0, 0].T, w["leave_norm.weight"], w["leave_norm.bias"])
    beside = grid
    if "shortcut.0.weight" in w:
        beside = norm(grid @ w["shortcut.0.weight"][:, :, 0, 0].T, w["shortcut.1.weight"], w["shortcut.1.bias"])
    out: Array = silu(x + beside)
    return out


def stirred(module: torch.nn.Module) -> torch.nn.Module:
    """Give every weight a value of its own, the norms' too."""
    torch.manual_seed(1)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return module.eval()


@pytest.mark.parametrize("outward", [3, 5])
def test_a_block_is_what_plain_loops_compute(outward: int) -> None:
    made = stirred(Block(3, outward))
    grid = torch.randn(1, 3, 4, 5)
    expected = block(grid[0].permute(1, 2, 0).double().numpy(), weights(made))
    found = made(grid)[0].permute(1, 2, 0).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5)


def test_the_whole_abstractor_is_what_plain_loops_compute() -> None:
    made = stirred(CAbstractor(3, 5, 6, side=2, depth=1))
    grid = torch.randn(1, 4, 6, 3)
    w = weights(made)

    def part(stem: str) -> dict[str, Array]:
        return {name.removeprefix(stem): value for name, value in w.items() if name.startswith(stem)}

    x = block(grid[0].double().numpy(), part("before.0."))
    x = x.reshape(2, 2, 2, 3, 5).mean((1, 3))  # 4 x 6 pooled to 2 x 2
    x = block(x, part("after.0.")).reshape(4, 5)
    x = silu(x @ w["readout.0.weight"].T + w["readout.0.bias"]) @ w["readout.2.weight"].T + w["readout.2.bias"]
    np.testing.assert_allclose(made(grid)[0].detach().numpy(), x, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize(("height", "width"), [(24, 24), (7, 7), (3, 11), (1, 13), (2, 2)])
def test_any_grid_becomes_side_by_side(height: int, width: int) -> None:
    made = stirred(CAbstractor(4, 6, 8, side=5))
    assert made(torch.randn(2, height, width, 4)).shape == (2, 25, 8)


def test_the_published_shape_has_the_published_sizes() -> None:
    with torch.device("meta"):
        made = CAbstractor(1024, 1088, 4096)
        features = made(torch.empty(1, 24, 24, 1024))
    assert features.shape == (1, 576, 4096)
    assert [len(stage) for stage in (made.before, made.after)] == [3, 3]
    assert [tuple(p.shape) for p in made.readout.parameters()] == [(4096, 1088), (4096,), (4096, 4096), (4096,)]


def test_tiles_are_abstracted_one_by_one_and_sizes_may_differ() -> None:
    made = stirred(CAbstractor(4, 6, 8, side=2))
    pictures = [torch.randn(3, 4, 4, 4), torch.randn(1, 2, 6, 4), torch.randn(1, 4, 4, 4)]
    found = project(made, pictures)
    assert [len(features) for features in found] == [12, 4, 4]
    for tiles, features in zip(pictures, found, strict=True):
        alone = torch.cat([made(tile[None])[0] for tile in tiles])
        torch.testing.assert_close(features, alone, rtol=1e-4, atol=1e-5)


def test_neighbours_matter_to_the_abstractor_and_not_to_the_mlp() -> None:
    grid = torch.randn(1, 4, 4, 4)
    moved = grid.flip(1)
    conv, plain = stirred(CAbstractor(4, 6, 8, side=4)), stirred(MLPProjector(4, 6, 8))

    def back(features: torch.Tensor) -> torch.Tensor:
        return features.reshape(1, 4, 4, 8).flip(1).reshape(1, 16, 8)

    torch.testing.assert_close(back(plain(moved)), plain(grid))
    assert not torch.allclose(back(conv(moved)), conv(grid), atol=1e-3)
