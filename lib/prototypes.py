"""Prototypes, balanced codes and the loss over groups of positives (CPCDR sec. 3.4, eqs. 4 to 6; SwAV).

Source: facts/cpcdr.md sec. 8 and 9. A group's target is the mean code of *all* its members, each member's own included.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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
        Rows sum to 1; columns sum to about N / K, the nearer the more iterations. (N, K) float32
    """
    kernel = (scores.float() / epsilon).log_softmax(dim=0).softmax(dim=1)  # each prototype's total, then each sample's
    if iterations == 1:
        return kernel
    share = len(scores) / scores.shape[1]
    samples = kernel.new_ones(len(scores))
    for _ in range(iterations - 1):
        prototypes = share / (samples @ kernel)  # each prototype gets the same total
        samples = 1 / (kernel @ prototypes)  # each sample gives a total of 1
    return kernel.mul_(prototypes).mul_(samples[:, None])


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


@torch.no_grad()
def measure_health(embeddings: Tensor, scores: Tensor, codes: Tensor, most: int = 4096) -> dict[str, Tensor]:
    """Three numbers that tell a collapse early, over about `most` of N unit embeddings (N, D), scores, codes (N, K).

    Returns:
        prototypes_used: how many are nearest to some sample, 1..K.
        code_entropy: mean entropy of a code over its largest value log K; 0 = hard, 1 = uniform.
        effective_rank: 1 / |Z'Z / N|^2 (the participation ratio of the spectrum), 1 = all embeddings on one line, .. D.
    """
    every = max(len(scores) // most, 1)
    embeddings, scores, codes = embeddings[::every], scores[::every], codes[::every]
    used = scores.new_zeros(scores.shape[1]).index_fill_(0, scores.argmax(dim=1), 1).sum()
    entropy = torch.special.entr(codes).sum(dim=1).mean() / math.log(codes.shape[1])
    spread = embeddings.T @ embeddings / len(embeddings)  # its trace is 1
    return {"prototypes_used": used, "code_entropy": entropy, "effective_rank": 1 / spread.square().sum()}
