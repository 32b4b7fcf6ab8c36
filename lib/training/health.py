"""A look at the numbers of a training that tells a collapse while there is time to stop it.

The numbers are those of `prototypes.measure_health`; the bounds were set on five healthy trainings, and are tried on
twenty others and on three forced collapses by `python -m lib.run.collapse` (outputs/reference/collapse.json).
"""

from dataclasses import dataclass

import numpy as np

from ..prototypes import LOOKED_AT
from .checkpoints import History

WINDOW = 20  # steps whose median is looked at: single batches are erratic
FIRST = 60  # steps that are not judged: random weights look much like a collapse
BOUNDS = {
    "feature_spread": 0.3,
    "effective_rank": 1.4,
    "prototypes_used": 0.25,
    "code_entropy": 0.57,
}
"""Number -> what is too little, of the used prototypes as a share of those that could be: a third of the lowest of five
seeds (0.95, 4.3, 0.74). Of the entropy what is too much: half way from their highest (0.15) to 1."""

SENTENCES = {
    "feature_spread": "embeddings are much alike",
    "effective_rank": "embeddings lie along one line",
    "prototypes_used": "a few prototypes serve all pixels",
    "code_entropy": "codes are near uniform, so that there is little to learn from",
}


@dataclass(frozen=True)
class CollapseWatch:
    """The `watch` of `training.train`.

    prototypes: how many there are.
    """

    prototypes: int

    def __call__(self, history: History) -> dict[str, str]:
        """What is wrong in the latest steps: name of a number -> sentence."""
        found = {}
        for name, bound in BOUNDS.items():
            if len(history) >= FIRST + WINDOW and name in history.columns:
                value = float(np.median(history.columns[name][-WINDOW:]))
                value /= min(self.prototypes, LOOKED_AT) if name == "prototypes_used" else 1
                above = name == "code_entropy"
                if value > bound if above else value < bound:
                    healthy = f"{'below' if above else 'above'} {bound:g}"
                    shown = f"{name.replace('_', ' ')} {value:.3g}, healthy is {healthy}"
                    found[name] = f"a collapse? {SENTENCES[name]} ({shown})"
        return found
