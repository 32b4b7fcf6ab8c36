"""Prototypes, balanced codes and the loss over groups of positives (CPCDR sec. 3.4, eqs. 4 to 6; SwAV).

Source: facts/cpcdr.md sec. 8 and 9. A group's target is the mean code of *all* its members, each member's own included.
`contrast_groups` is what trains; `balance_codes`, `average_groups` and `compare_assignments` are its three steps, one
by one, to look at. In a training of several processes (`parallel.ranks`) the batch is that of all of them together.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .parallel.ranks import max_ranks, sum_ranks

LOOKED_AT = 1024  # samples of a batch whose health is measured, at least, if there are as many


class Prototypes(nn.Module):
    """K directions of the embedding space. `weight` (K, D); rows have length 1 after `renormalize`."""

    def __init__(self, count: int, dimensions: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(count, dimensions).uniform_(-1, 1) / dimensions**0.5)
        self.renormalize()

    @torch.no_grad()
    def renormalize(self) -> None:
        """Bring every prototype back to length 1; once a step, before its scores are taken."""
        self.weight.copy_(F.normalize(self.weight))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Cosine of unit embeddings with every prototype. (N, D) -> (N, K)"""
        return embeddings @ self.weight.T


def assign_softly(scores: Tensor, temperature: float) -> Tensor:
    """Eq. 4: the share of each prototype in each sample. (N, K) cosines -> (N, K), rows sum to 1"""
    return (scores / temperature).softmax(dim=1)


def _balance(scores: Tensor, epsilon: float, iterations: int) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Kernel (N, K), factor of each prototype (K,), of each sample (N,): codes are their product; None = all 1."""
    largest = max_ranks(scores.amax(dim=0))
    kernel = torch.sub(scores, largest).mul_(1 / epsilon).exp_()
    totals = largest / epsilon + sum_ranks(kernel.sum(dim=0)).log()  # of each prototype, in logarithms
    torch.softmax(torch.mul(scores, 1 / epsilon, out=kernel).sub_(totals), dim=1, out=kernel)  # then of each sample
    if iterations == 1:
        return kernel, None, None
    share = sum_ranks(kernel.new_full((), len(scores))) / scores.shape[1]
    samples = kernel.new_ones(len(kernel))
    for _ in range(iterations - 1):
        prototypes = share / sum_ranks(samples @ kernel)  # each prototype gets the same total
        samples = 1 / (kernel @ prototypes)  # each sample gives a total of 1
    return kernel, prototypes, samples


def _apply(kernel: Tensor, prototypes: Tensor | None, samples: Tensor | None) -> Tensor:
    return kernel if prototypes is None else kernel.mul_(prototypes).mul_(samples[:, None])


@torch.no_grad()
def balance_codes(scores: Tensor, epsilon: float = 0.05, iterations: int = 3) -> Tensor:
    """Sinkhorn-Knopp: codes near the scores that use all prototypes about equally. No gradient.

    The matrix exp(scores / epsilon) is scaled by one factor a prototype and one a sample, in turns. The first turn is
    taken in logarithms: a small epsilon spreads its factors over more than float32 can hold. What remains is near
    balance, and there only the factors are updated: an iteration is two products of matrix and vector.

    Args:
        scores: cosines. (N, K)
        epsilon: entropy of the codes; smaller is harder.
        iterations: at least 1.
    Returns:
        Rows sum to 1; columns sum to about N / K, the nearer the more iterations. (N, K) float32, or float64 as scores
    """
    scores = scores if scores.dtype == torch.float64 else scores.float()
    return _apply(*_balance(scores, epsilon, iterations))


def average_groups(codes: Tensor, groups: Tensor) -> Tensor:
    """Eq. 5: every sample's target, the mean code of its group.

    Args:
        codes: (N, K)
        groups: id of the positive set of each sample, 0..G-1. (N,) int64
    Returns:
        (N, K)
    """
    members = torch.bincount(groups)
    sums = codes.new_zeros(len(members), codes.shape[1]).index_add_(0, groups, codes)
    return (sums / members.clamp(min=1)[:, None])[groups]


def compare_assignments(scores: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Eq. 6: mean cross-entropy between targets and the soft assignments of eq. 4. (N, K) twice -> scalar"""
    return F.cross_entropy(scores / temperature, targets)


class _Contrast(torch.autograd.Function):
    """Eqs. 4 to 6 and their gradient in one go: two N x K matrices at a time, and none is kept for later.

    The gradient by a score is (p - target) / (temperature N), so scores and codes make way for p and the targets, and
    what waits for `backward` is as small as embeddings and prototypes.
    """

    @staticmethod
    def forward(ctx, z, weight, groups, count, temperature, epsilon, iterations, rows):
        scores = z @ weight.T
        shown = scores[rows]
        codes = _apply(*_balance(scores, epsilon, iterations))
        shown = shown, codes[rows]
        means = codes.new_zeros(count, codes.shape[1]).index_add_(0, groups, codes)
        means /= codes.new_zeros(count).index_add_(0, groups, codes.new_ones(len(codes)))[:, None].clamp_(min=1)
        targets = torch.index_select(means, 0, groups, out=codes)
        logits = scores.mul_(1 / temperature)
        agreement, largest = torch.einsum("nk,nk->n", targets, logits), logits.amax(dim=1)
        shares = torch.softmax(logits, dim=1, out=logits)
        losses = largest - shares.amax(dim=1).log() - agreement  # cross-entropies: the first two are log sum exp
        long = torch.float32 if z.device.type == "mps" else torch.float64  # Apple's GPUs have no other
        samples = sum_ranks(z.new_full((), len(z), dtype=long))
        error = shares.sub_(targets)
        scale = (1 / (temperature * samples)).to(z.dtype)
        ctx.save_for_backward((error @ weight).mul_(scale), (error.T @ z).mul_(scale))
        ctx.mark_non_differentiable(*shown)
        return (losses.sum(dtype=long) / samples).to(z.dtype), *shown

    @staticmethod
    def backward(ctx, gradient, *_):
        by_embeddings, by_prototypes = ctx.saved_tensors
        return gradient * by_embeddings, gradient * by_prototypes, *[None] * 6


def contrast_groups(
    embeddings: Tensor,
    prototypes: Tensor,
    groups: Tensor,
    count: int,
    temperature: float,
    epsilon: float,
    iterations: int,
    look_at: int = LOOKED_AT,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of eqs. 4 to 6 over one batch of samples, and its health.

    As `compare_assignments(scores, average_groups(balance_codes(scores), groups), temperature)`, with less
    memory: nothing of N x K waits for the backward pass.

    Args:
        embeddings: of length 1. (N, D)
        prototypes: of length 1. (K, D)
        groups: positive set of each sample, 0..count-1. (N,) int64
        look_at: samples, evenly spread over the batch, whose health is measured.
    Returns:
        The sum over these samples divided by the number of samples of all processes, so that what they return adds
        up; and `measure_health` of this process.
    """
    rows = torch.arange(0, len(embeddings), max(len(embeddings) // look_at, 1), device=embeddings.device)
    loss, scores, codes = _Contrast.apply(embeddings, prototypes, groups, count, temperature, epsilon, iterations, rows)
    return loss, measure_health(embeddings[rows], scores, codes)


@torch.no_grad()
def measure_health(embeddings: Tensor, scores: Tensor, codes: Tensor) -> dict[str, Tensor]:
    """Numbers that tell a collapse early, over N unit embeddings (N, D), their scores and codes (N, K).

    Returns:
        prototypes_used: how many are nearest to some sample, 1..K.
        code_entropy: mean entropy of a code over its largest value log K; 0 = hard, 1 = uniform.
        effective_rank: 1 / |Z'Z / N|^2 (the participation ratio of the spectrum), 1 = all embeddings on one line, .. D.
        feature_spread: mean squared distance of an embedding from their mean, 0 = all are the same, .. 1.
    """
    used = scores.new_zeros(scores.shape[1]).index_fill_(0, scores.argmax(dim=1), 1).sum()
    entropy = torch.special.entr(codes).sum(dim=1).mean() / math.log(codes.shape[1])
    second = embeddings.T @ embeddings / len(embeddings)  # its trace is 1
    spread = 1 - embeddings.mean(dim=0).square().sum()
    rank = 1 / second.square().sum()
    return {"prototypes_used": used, "code_entropy": entropy, "effective_rank": rank, "feature_spread": spread}
