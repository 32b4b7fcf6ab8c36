"""Sums over the processes of one training (its ranks, in torch's words); with a single one, nothing is sent.

A quantity over the whole batch is the sum of what the ranks hold, and a mean is the sum of sums over the sum of
counts: ranks need not hold equally much.
"""

from typing import Any

import torch
from torch import Tensor, distributed


def count_ranks() -> int:
    """How many processes train together; 1 outside of such a training."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def own_rank() -> int:
    """Which of them this is, from 0; rank 0 saves and reports."""
    return distributed.get_rank() if count_ranks() > 1 else 0


def sum_ranks(values: Tensor) -> Tensor:
    """The sum over all ranks, in place; no gradient."""
    if count_ranks() > 1:
        distributed.all_reduce(values)
    return values


def max_ranks(values: Tensor) -> Tensor:
    """The largest of all ranks, in place; no gradient."""
    if count_ranks() > 1:
        distributed.all_reduce(values, distributed.ReduceOp.MAX)
    return values


def share_with_ranks(value: Any) -> Any:
    """What rank 0 holds, for all."""
    held = [value]
    if count_ranks() > 1:
        distributed.broadcast_object_list(held)
    return held[0]


def sum_gradients(parameters: list[Tensor]) -> None:
    """Replace every gradient by its sum over all ranks, in one message a kind of number."""
    if count_ranks() == 1:
        return
    by_kind: dict[torch.dtype, list[Tensor]] = {}
    for parameter in parameters:
        if parameter.requires_grad:
            if parameter.grad is None:  # every rank sends as much as any other
                parameter.grad = torch.zeros_like(parameter)
            by_kind.setdefault(parameter.dtype, []).append(parameter.grad)
    for gradients in by_kind.values():
        flat = sum_ranks(torch.cat([g.reshape(-1) for g in gradients]))
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients])):
            gradient.copy_(part.view_as(gradient))
