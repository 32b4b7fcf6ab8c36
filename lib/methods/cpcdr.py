"""CPCDR: composites of depth regions, and the two contrastive losses over them (sec. 3.3 and 3.4, eq. 7).

Source: facts/cpcdr.md sec. 6 to 10. Ours: the images of an item are drawn anew each epoch; each branch (pixels,
regions) balances its own codes, as the release does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..copy_paste import Source, make_item
from ..networks import Embedder, load_start, sample_embeddings, seed_weights
from ..parallel import numpy_generator
from ..params import AugmentationParams, TrainingParams
from ..prototypes import Prototypes, average_groups, balance_codes, compare_assignments, measure_health
from ..views import sample_pixel_positives, sample_region_positives

ORDER, ITEM = 1, 2  # streams of random numbers


def pack_points(view: np.ndarray, xy: np.ndarray, group: np.ndarray, views: int) -> tuple[Tensor, Tensor, Tensor]:
    """Points of all views as one rectangular array, so that one call can sample them.

    Args:
        view, xy, group: of N points, in any order; group ids need not be consecutive. (N,), (N, 2), (N,)
    Returns:
        points (views, P, 2) float32, filled up with zeros; where the N points are in it, flat, (N,) int64; groups
        0..G-1 (N,) int64.
    """
    order = np.argsort(view, kind="stable")
    view, counts = view[order], np.bincount(view, minlength=views)
    rank = np.arange(len(view)) - (np.cumsum(counts) - counts)[view]
    points = np.zeros((views, max(int(counts.max()), 1), 2), np.float32)
    points[view, rank] = xy[order]
    index = view * points.shape[1] + rank
    groups = np.unique(group[order], return_inverse=True)[1]
    return torch.from_numpy(points), torch.from_numpy(index.astype(np.int64)), torch.from_numpy(groups.reshape(-1))


@dataclass(frozen=True)
class CompositeSampler:
    """step -> one training item: 2M composites and the positives among their points. Called by worker processes."""

    sources: Sequence[Source]
    recipe: AugmentationParams
    params: TrainingParams

    def choose(self, step: int) -> list[Source]:
        """M sources; within an epoch each image is taken at most once, and the next one groups them anew."""
        items = len(self.sources) // self.recipe.images
        order = numpy_generator(self.params.seed, ORDER, step // items).permutation(len(self.sources))
        first = step % items * self.recipe.images
        return [self.sources[i] for i in order[first : first + self.recipe.images]]

    def __call__(self, step: int) -> dict[str, Tensor]:
        """images (2M, H, W, 3) uint8, and for each branch B that counts: B_points, B_index, B_group of `pack_points`.

        Raises:
            ValueError: no point of the item has a partner.
        """
        rng = numpy_generator(self.params.seed, ITEM, step)
        item = make_item(self.choose(step), self.recipe, rng)
        batch = {"images": torch.from_numpy(item.images)}
        draws = {
            "pixel": (self.params.pixel_weight, sample_pixel_positives, self.params.pixel_points),
            "region": (1 - self.params.pixel_weight, sample_region_positives, self.params.region_points),
        }
        for branch, (weight, draw, count) in draws.items():
            if weight > 0:
                points = draw(item, count, rng)
                if len(points[0]) == 0:
                    raise ValueError(f"step {step}: no {branch} positives; look at the regions of 02: are they empty?")
                packed = pack_points(*points, views=len(item.images))
                batch |= {f"{branch}_{name}": value for name, value in zip(("points", "index", "group"), packed)}
        return batch


class CpcdrTask:
    """What 04 trains: `networks` holds "embedder" and "prototypes"; `sample` makes composites; `loss` is eq. 7.

    Raises:
        ValueError: fewer sources than an item has images.
    """

    def __init__(self, params: TrainingParams, recipe: AugmentationParams, sources: Sequence[Source]) -> None:
        if len(sources) < recipe.images:
            raise ValueError(f"an item needs {recipe.images} images, the run has {len(sources)}: lower `images` in 03")
        self.params = params
        self.sample = CompositeSampler(sources, recipe if params.paste else replace(recipe, copies=(0, 0)), params)
        with seed_weights(params.seed):
            embedder = Embedder(params.encoder, params.dimensions)
            prototypes = Prototypes(params.prototypes, params.dimensions)
        load_start(embedder.backbone, params.start, params.encoder)
        self.networks = nn.ModuleDict({"embedder": embedder, "prototypes": prototypes})

    def loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 7: pixel_weight * loss over pixel positives + (1 - pixel_weight) * loss over region positives."""
        self.networks["prototypes"].renormalize()
        embeddings = self.networks["embedder"](batch["images"])
        weights = {"pixel": self.params.pixel_weight, "region": 1 - self.params.pixel_weight}
        total, numbers = embeddings.new_zeros((), dtype=torch.float32), {}
        with torch.autocast(embeddings.device.type, enabled=False):  # exp(score / epsilon) needs float32
            for branch, weight in weights.items():
                if weight > 0:
                    loss, health = self._compare(embeddings.float(), batch, branch)
                    total = total + weight * loss
                    numbers |= {f"loss_{branch}": loss.detach()} | health
        return total, numbers

    def _compare(self, embeddings: Tensor, batch: dict[str, Tensor], branch: str) -> tuple[Tensor, dict[str, Tensor]]:
        points, index, groups = (batch[f"{branch}_{name}"] for name in ("points", "index", "group"))
        z = F.normalize(sample_embeddings(embeddings, points).flatten(0, 1)[index])  # (N, D)
        scores = self.networks["prototypes"](z)  # (N, K)
        codes = balance_codes(scores.detach(), self.params.epsilon, self.params.sinkhorn_iterations)
        loss = compare_assignments(scores, average_groups(codes, groups), self.params.temperature)
        return loss, measure_health(z, scores, codes)
