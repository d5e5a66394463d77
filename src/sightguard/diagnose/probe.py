"""A linear probe: can harmful be told from harmless along any direction at all?

Ridge regression on labels ±1 (Hoerl and Kennard 1970), solved in the space of the samples, since a state is far wider than there are
prompts. It is an upper bound for what one direction can do, and says of a direction that fails whether the information is lost or lies
elsewhere.
"""

from __future__ import annotations

import torch
from torch import Tensor

RIDGE = 0.1
"""The penalty, as a share of the mean squared length of a centred state: it does not depend on the scale of a layer."""


def probe_scores(states: Tensor, labels: Tensor, fresh: Tensor, *, ridge: float = RIDGE) -> Tensor:
    """Return the probe's scores of `fresh`, `k`, float64; higher is more like the labels that are true.

    Args:
        states: `n x hidden`, to fit on.
        labels: `n`, bool, of both kinds.
        fresh: `k x hidden`, to score.
        ridge: the penalty, as a share of the mean squared length of a centred state.
    """
    centre = states.double().mean(0)
    inside, outside = states.double() - centre, fresh.double() - centre
    wanted = torch.where(labels, 1.0, -1.0).double()
    gram = inside @ inside.T
    penalty = ridge * gram.diagonal().mean().clamp(min=torch.finfo(torch.float64).tiny)
    weights = torch.linalg.solve(gram + penalty * torch.eye(len(gram), dtype=gram.dtype), wanted - wanted.mean())
    scores: Tensor = outside @ (inside.T @ weights)
    return scores
