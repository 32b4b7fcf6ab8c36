import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from lib.prototypes import (
    Prototypes,
    assign_softly,
    average_groups,
    balance_codes,
    compare_assignments,
    contrast_groups,
    measure_health,
)


def draw_scores(samples: int = 60, count: int = 8, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    z = F.normalize(torch.randn(samples, 5, generator=generator))
    c = F.normalize(torch.randn(count, 5, generator=generator))
    return z @ c.T


def slow_sinkhorn(scores: np.ndarray, epsilon: float, iterations: int) -> np.ndarray:
    """SwAV's listing, K x N, one entry at a time."""
    n, k = scores.shape
    q = [[float(np.exp(np.float64(scores[j][i]) / epsilon)) for j in range(n)] for i in range(k)]
    total = sum(sum(row) for row in q)
    q = [[value / total for value in row] for row in q]
    for _ in range(iterations):
        for i in range(k):
            row = sum(q[i])
            q[i] = [value / row for value in q[i]]
        for j in range(n):
            column = sum(q[i][j] for i in range(k))
            for i in range(k):
                q[i][j] /= column
    return np.array(q).T


@pytest.mark.parametrize("epsilon", [0.05, 0.01, 0.003])
def test_codes_equal_a_slow_transcription(epsilon):
    scores = draw_scores()
    for iterations in (1, 3, 10):
        expected = slow_sinkhorn(scores.numpy(), epsilon, iterations)
        np.testing.assert_allclose(balance_codes(scores, epsilon, iterations).numpy(), expected, rtol=2e-4, atol=1e-6)


def test_scores_far_below_the_best_count_as_much_as_the_best():
    """A sample far from every prototype gives as much as one beside it: its share must not vanish in float32."""
    scores = torch.cat([draw_scores(30), draw_scores(30, seed=1) * 0.2 - 0.8])
    expected = slow_sinkhorn(scores.numpy(), 0.01, 3)
    np.testing.assert_allclose(balance_codes(scores, 0.01, 3).numpy(), expected, rtol=5e-4, atol=1e-6)


@given(st.integers(2, 40), st.integers(2, 12), st.integers(0, 1000), st.floats(0.01, 1.0))
def test_codes_are_assignments(samples, count, seed, epsilon):
    codes = balance_codes(draw_scores(samples, count, seed), epsilon, 3)
    assert bool(torch.isfinite(codes).all())
    assert bool((codes >= 0).all())
    torch.testing.assert_close(codes.sum(1), torch.ones(samples), rtol=1e-4, atol=1e-4)


def test_codes_use_the_prototypes_equally_in_the_limit():
    scores = draw_scores(400, 8) * 0.1
    totals = balance_codes(scores, 0.05, 100).sum(0)
    torch.testing.assert_close(totals, torch.full((8,), 50.0), rtol=1e-3, atol=0)


def test_codes_ignore_a_shift_of_the_scores_and_have_no_gradient():
    scores = draw_scores().requires_grad_()
    codes = balance_codes(scores)
    torch.testing.assert_close(codes, balance_codes(scores + 0.5))
    assert not codes.requires_grad


def test_equations_4_to_6_equal_a_slow_transcription():
    scores, groups = draw_scores(20, 6).double(), torch.randint(0, 4, (20,), generator=torch.Generator().manual_seed(1))
    codes = balance_codes(scores).double()
    s, q, g = scores.tolist(), codes.tolist(), groups.tolist()
    loss = 0.0
    for n in range(20):
        p = [np.exp(s[n][k] / 0.1) / sum(np.exp(s[n][j] / 0.1) for j in range(6)) for k in range(6)]
        np.testing.assert_allclose(assign_softly(scores, 0.1)[n], p, rtol=1e-9)
        members = [i for i in range(20) if g[i] == g[n]]
        target = [sum(q[i][k] for i in members) / len(members) for k in range(6)]
        np.testing.assert_allclose(average_groups(codes, groups)[n], target, rtol=1e-9)
        loss -= sum(target[k] * np.log(p[k]) for k in range(6)) / 20
    assert float(compare_assignments(scores, average_groups(codes, groups), 0.1)) == pytest.approx(loss, rel=1e-9)


def test_a_group_of_one_keeps_its_code_and_one_group_of_all_has_one_target():
    codes = balance_codes(draw_scores(10))
    torch.testing.assert_close(average_groups(codes, torch.arange(10)), codes)
    together = average_groups(codes, torch.zeros(10, dtype=torch.long))
    torch.testing.assert_close(together, codes.mean(0).expand(10, -1))


def test_prototypes_stay_on_the_unit_sphere_and_get_gradients():
    torch.manual_seed(0)
    prototypes = Prototypes(7, 5)
    torch.testing.assert_close(prototypes.weight.norm(dim=1), torch.ones(7))
    z = F.normalize(torch.randn(30, 5))
    scores = prototypes(z)
    compare_assignments(scores, balance_codes(scores), 0.1).backward()
    assert bool(torch.isfinite(prototypes.weight.grad).all())
    assert prototypes.weight.grad.abs().sum() > 0
    with torch.no_grad():
        prototypes.weight.mul_(3)
    prototypes.renormalize()
    torch.testing.assert_close(prototypes.weight.norm(dim=1), torch.ones(7))


def test_health_tells_a_collapse_from_a_spread():
    same, apart = F.normalize(torch.ones(64, 8)), torch.eye(8).repeat(8, 1)
    scores = torch.eye(8).repeat(8, 1)
    hard, even = scores.clone(), torch.full((64, 8), 1 / 8)
    collapsed = measure_health(same, torch.ones(64, 8), even)
    spread = measure_health(apart, scores, hard)
    assert float(collapsed["effective_rank"]) == pytest.approx(1)
    assert float(spread["effective_rank"]) == pytest.approx(8)
    assert (int(collapsed["prototypes_used"]), int(spread["prototypes_used"])) == (1, 8)
    assert float(collapsed["code_entropy"]) == pytest.approx(1)
    assert float(spread["code_entropy"]) == pytest.approx(0)


@pytest.mark.parametrize("epsilon", [0.05, 0.01])
@pytest.mark.parametrize("iterations", [1, 3])
def test_the_loss_at_once_and_its_gradients_are_those_of_its_steps(epsilon, iterations):
    """A group id without members is allowed."""
    generator = torch.Generator().manual_seed(3)
    z, c = (torch.randn(n, 5, generator=generator, dtype=torch.float64) for n in (70, 12))
    z, c = (F.normalize(x).requires_grad_() for x in (z, c))
    groups = torch.randint(0, 9, (70,), generator=generator)
    groups[groups == 4] = 5
    scores = z @ c.T
    targets = average_groups(balance_codes(scores.detach(), epsilon, iterations), groups)
    expected = compare_assignments(scores, targets, 0.1)
    by_steps = torch.autograd.grad(3 * expected, (z, c))
    loss, health = contrast_groups(z, c, groups, 9, 0.1, epsilon, iterations, look_at=70)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-12)
    for ours, theirs in zip(torch.autograd.grad(3 * loss, (z, c)), by_steps):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    assert health == measure_health(z, scores, balance_codes(scores, epsilon, iterations))


def test_the_loss_at_once_in_float32_agrees_with_float64_to_a_millionth():
    generator = torch.Generator().manual_seed(4)
    z, c = (F.normalize(torch.randn(n, 16, generator=generator)) for n in (3000, 64))
    groups = torch.arange(3000) // 3
    single, double = (
        contrast_groups(a, b, groups, 1000, 0.1, 0.01, 3)[0] for a, b in ((z, c), (z.double(), c.double()))
    )
    assert float(single) == pytest.approx(float(double), rel=1e-6)
