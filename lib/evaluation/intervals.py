"""How far a score can be trusted: other seeds, other clips.

A score comes from one network and some clips; both were drawn. `estimate` gives the mean over seeds with an interval
for both, `compare_paired` the difference of two settings over the same seeds and clips, where most of what varies falls
out, with the smallest difference that such a comparison would have shown.

Statistics: jackknife pseudo-values of a score that comes from summed confusions, one a seed and clip, in a two-way
analysis of variance without replication: what varies between seeds and what varies between clips are told apart.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from scipy import stats

LEVEL = 0.95  # of every interval
POWER = 0.8  # with which the smallest effect would be shown
FEWEST_SEEDS = 3  # on each side of a comparison that has a verdict: with two, 8 to 12 % of nothings are "shown"


Statistic = Callable[[np.ndarray], np.ndarray]
"""Of summed confusions, many at once: (..., C, >= C) -> (...)"""


def miou(confusions: np.ndarray) -> np.ndarray:
    """As `matching.score`, of many at once; NaN where no pixel counts."""
    classes = confusions.shape[-2]
    hit, truth = np.diagonal(confusions[..., :classes], axis1=-2, axis2=-1), confusions.sum(axis=-1)
    union = truth + confusions[..., :classes].sum(axis=-2) - hit
    counted = truth > 0
    with np.errstate(invalid="ignore"):
        return (hit / np.maximum(union, 1e-9) * counted).sum(axis=-1) / counted.sum(axis=-1)


def accuracy(confusions: np.ndarray) -> np.ndarray:
    """As `matching.score`, of many at once."""
    return np.trace(confusions, axis1=-2, axis2=-1) / confusions.sum(axis=(-2, -1))


def class_iou(index: int) -> Statistic:
    """The IoU of one class; 0 where neither truth nor prediction holds it."""

    def measure(confusions: np.ndarray) -> np.ndarray:
        classes = confusions.shape[-2]
        hit = confusions[..., index, index]
        union = confusions[..., index, :].sum(axis=-1) + confusions[..., :classes, index].sum(axis=-1) - hit
        return hit / np.maximum(union, 1e-9)

    return measure


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval, `low` to `high`.

    The interval is NaN where a single block, a clip or part of a drive, was scored.
    error: its standard error. freedom: degrees of freedom of the t distribution behind the interval.
    seeds, blocks: how many of each. With one seed the interval says nothing about others, with two it is too narrow
    (it holds the truth in 88 to 92 % of simulations).
    between_seeds, between_blocks: standard deviation of what one seed, or one clip, adds; NaN for a single one.
    """

    value: float
    low: float
    high: float
    error: float
    freedom: float
    seeds: int
    blocks: int
    between_seeds: float
    between_blocks: float

    @property
    def smallest(self) -> float:
        """The smallest effect that is shown four times in five: farther from 0 than chance and doubt together.

        NaN where there is no verdict.
        """
        if self.seeds < FEWEST_SEEDS:
            return math.nan
        return (stats.t.ppf((1 + LEVEL) / 2, self.freedom) + stats.t.ppf(POWER, self.freedom)) * self.error

    @property
    def p(self) -> float:
        """Of a difference: how often chance alone would bring one at least as far from 0; NaN for a single block.

        With no more degrees of freedom than seeds: those of the interval are right at 5 %, and far out too many. With
        three seeds 1 to 1.8 % of nothings had a p below 0.25 %; so counted, 0.5 % at most.
        """
        if self.error == 0:
            return float(self.value == 0)
        return float(2 * stats.t.sf(abs(self.value) / self.error, min(self.freedom, self.seeds)))

    @property
    def verdict(self) -> str:
        """Of a difference: shown, reversed, or not shown; not decided with fewer than three seeds, or a single block.

        With one seed the interval is for other clips alone, and most comparisons of a setting with itself lie beside 0.
        """
        if self.seeds < FEWEST_SEEDS or math.isnan(self.low):
            return "not decided"
        return "shown" if self.low > 0 else "reversed" if self.high < 0 else "not shown"

    def to_json(self, verdict: bool = False) -> dict[str, float | int | str | None]:
        """All numbers, and `smallest`; None for what a single block cannot tell. verdict: too; of a difference."""
        numbers = asdict(self) | {"smallest": float(self.smallest)}
        found = {name: None if math.isnan(number) else number for name, number in numbers.items()}
        return found | ({"verdict": self.verdict} if verdict else {})

    @classmethod
    def from_json(cls, numbers: Mapping[str, Any]) -> "Estimate":
        """The inverse of `to_json`."""
        kept = {f.name: numbers[f.name] for f in fields(cls)}
        return cls(**{name: math.nan if number is None else number for name, number in kept.items()})

    def __format__(self, sign: str) -> str:
        """Value and interval to three digits; `sign` is "+" for a difference, else empty."""
        interval = "" if math.isnan(self.low) else f" [{self.low:{sign}.3f}, {self.high:{sign}.3f}]"
        return f"{self.value:{sign}.3f}{interval}"


def correct_for_many(differences: Sequence[Estimate]) -> list[str]:
    """Verdicts of differences that are looked at together: the chance that even one of nothings is called shown or
    reversed stays 5 % (Holm 1979): the smallest p counts if below 5 % / n, the next if below 5 % / (n - 1), and so on;
    of the last, its interval decides.

    Returns:
        For each its verdict, or "not shown" where it has one that does not stand. What is not decided is no part of n.
    """
    verdicts = [found.verdict for found in differences]
    decided = [i for i, verdict in enumerate(verdicts) if verdict != "not decided"]
    stands = True
    for rank, index in enumerate(sorted(decided, key=lambda i: differences[i].p)):
        left = len(decided) - rank
        stands = stands and (left == 1 or differences[index].p <= (1 - LEVEL) / left)
        if not stands:
            verdicts[index] = "not shown"
    return verdicts


def rows_to_json(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of a table, JSON-ready: estimates become their numbers, with a verdict where the name says `minus`."""
    return [
        {k: v.to_json(verdict="minus" in k) if isinstance(v, Estimate) else v for k, v in row.items()} for row in rows
    ]


def rows_from_json(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The inverse of `rows_to_json`: what has a standard error is an estimate again."""
    return [
        {k: Estimate.from_json(v) if isinstance(v, Mapping) and "error" in v else v for k, v in row.items()}
        for row in rows
    ]


def join_blocks(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Tables of several parts as one: a block that several have, by its name, is one block, and its tables are summed.

    Args:
        parts: names (B,) and tables (B, ...) of each.
    """
    names = np.unique(np.concatenate([each for each, _ in parts]))
    joined = np.zeros((len(names), *parts[0][1].shape[1:]), np.int64)
    for each, tables in parts:
        joined[np.searchsorted(names, each)] += tables
    return names, joined


def pseudo_values(confusions: np.ndarray, statistic: Statistic = miou) -> np.ndarray:
    """Jackknife over blocks, seed by seed: what each block makes of the score of all.

    Args:
        confusions: of each seed and block. (S, B, C, >= C)
    Returns:
        Their mean over blocks is the score of all blocks, less the bias of having so few. (S, B), NaN if B is 1
    """
    blocks, totals = confusions.shape[1], confusions.sum(axis=1)
    if blocks == 1:
        return np.full(confusions.shape[:2], np.nan)
    return blocks * statistic(totals)[:, None] - (blocks - 1) * statistic(totals[:, None] - confusions)


def estimate(confusions: np.ndarray, statistic: Statistic = miou) -> Estimate:
    """The mean score over seeds, and where it would lie for other seeds and other clips.

    Args:
        confusions: of each seed and block, the same blocks for each. (S, B, C, >= C)
        statistic: of a summed confusion.
    """
    value = float(statistic(confusions.sum(axis=1)).mean())
    return _estimate(value, pseudo_values(confusions, statistic))


def compare_paired(first: np.ndarray, second: np.ndarray, statistic: Statistic = miou) -> Estimate:
    """First minus second, over the same seeds and blocks; arguments as `estimate`.

    Raises:
        ValueError: seeds or blocks differ in number.
    """
    if first.shape[:2] != second.shape[:2]:
        shapes = f"{first.shape[:2]} and {second.shape[:2]}"
        raise ValueError(f"a paired comparison needs the same seeds and blocks on both sides, not {shapes}")
    values = [statistic(side.sum(axis=1)).mean() for side in (first, second)]
    return _estimate(float(values[0] - values[1]), pseudo_values(first, statistic) - pseudo_values(second, statistic))


def estimate_left_out(totals: np.ndarray, left_out: np.ndarray) -> Estimate:
    """`estimate` of a score that comes from no confusion: of all blocks, and of all but one.

    Args:
        totals: score of each seed. (S,); left_out: without each of the blocks. (S, B), B = 0 where there is one block
    """
    return _estimate(float(totals.mean()), _pseudo_values_left_out(totals, left_out))


def compare_left_out(first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]) -> Estimate:
    """`compare_paired` of such scores: first minus second; each as the arguments of `estimate_left_out`.

    Raises:
        ValueError: seeds or blocks differ in number.
    """
    if first[1].shape != second[1].shape:
        shapes = f"{first[1].shape} and {second[1].shape}"
        raise ValueError(f"a paired comparison needs the same seeds and blocks on both sides, not {shapes}")
    value = float(first[0].mean() - second[0].mean())
    return _estimate(value, _pseudo_values_left_out(*first) - _pseudo_values_left_out(*second))


def _pseudo_values_left_out(totals: np.ndarray, left_out: np.ndarray) -> np.ndarray:
    blocks = left_out.shape[1]
    return blocks * totals[:, None] - (blocks - 1) * left_out if blocks > 1 else np.full((len(totals), 1), np.nan)


def _estimate(value: float, pseudo: np.ndarray) -> Estimate:
    seeds, blocks = pseudo.shape
    mean, by_seed, by_block = pseudo.mean(), pseudo.mean(axis=1), pseudo.mean(axis=0)
    if blocks == 1:
        return Estimate(value, *[math.nan] * 4, seeds, blocks, math.nan, math.nan)
    for_blocks = seeds * by_block.var(ddof=1)
    if seeds == 1:
        error, freedom, spread = math.sqrt(for_blocks / blocks), blocks - 1, (math.nan, math.sqrt(for_blocks))
    else:
        for_seeds = blocks * by_seed.var(ddof=1)
        rest = pseudo - by_seed[:, None] - by_block + mean
        for_rest = (rest**2).sum() / ((seeds - 1) * (blocks - 1))
        parts = ((for_seeds, seeds - 1), (for_blocks, blocks - 1), (-for_rest, (seeds - 1) * (blocks - 1)))
        squares = sum(part for part, _ in parts)
        if squares < max(for_seeds, for_blocks):  # chance made the rest larger than one of them: leave that one out
            parts = (max(parts[:2]),)
            squares = parts[0][0]
        error = math.sqrt(squares / (seeds * blocks))
        freedom = squares**2 / sum(part**2 / count for part, count in parts) if squares > 0 else blocks - 1
        spread = (math.sqrt(max(for_seeds - for_rest, 0) / blocks), math.sqrt(max(for_blocks - for_rest, 0) / seeds))
    reach = stats.t.ppf((1 + LEVEL) / 2, freedom) * error
    return Estimate(value, value - reach, value + reach, error, freedom, seeds, blocks, *spread)
