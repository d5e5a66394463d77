"""Tensors that are shared out over processes (torch's DTensor), seen as ordinary ones."""

from __future__ import annotations

from torch import Tensor


def sharded(tensor: Tensor) -> bool:
    """Return whether a tensor is shared out over processes."""
    from torch.distributed.tensor import DTensor

    return isinstance(tensor, DTensor)


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor in one piece; every process has to call this for a sharded one."""
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(tensor: Tensor, other: Tensor) -> Tensor:
    """Return a whole tensor sharded as `other` is."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not isinstance(other, DTensor):
        return tensor
    return distribute_tensor(tensor.to(other.device), other.device_mesh, other.placements)
