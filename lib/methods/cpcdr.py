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

from ..artifacts import Artifact, load, read_json, run_folder
from ..copy_paste import Source, make_item
from ..data import open_dataset
from ..networks import PARTS, Embedder, load_networks, load_start, sample_embeddings, seed_weights
from ..parallel import numpy_generator
from ..parallel.ranks import sum_ranks
from ..params import AugmentationParams, TrainingParams, make
from ..prototypes import Prototypes, contrast_groups
from ..views import Positives, sample_pixel_positives, sample_region_positives
from .sources import read_sources

ORDER, ITEM = 1, 2  # streams of random numbers
POINTS = ("view", "points", "group", "groups")  # of a batch, for each branch: see `join_positives`


def join_positives(parts: Sequence[Positives], views: Sequence[int]) -> dict[str, Tensor | int]:
    """Positives of several items as those of one batch.

    Args:
        parts: view, (x, y) and group of the points of each item; group ids need not be consecutive.
        views: how many each item has.
    Returns:
        view (N,) int64, points (N, 2) float32, group 0..groups-1 (N,) int64, and groups, how many there are.
    """
    before = np.cumsum([0, *views])
    view = np.concatenate([view + k for (view, _, _), k in zip(parts, before)])
    ends = np.cumsum([0, *(group.max() + 1 for _, _, group in parts)])
    group = np.concatenate([group + k for (_, _, group), k in zip(parts, ends)])
    kept, group = np.unique(group, return_inverse=True)
    points = np.concatenate([xy for _, xy, _ in parts]).astype(np.float32)
    found = {"view": view, "points": points, "group": group.reshape(-1)}
    return {name: torch.from_numpy(values) for name, values in found.items()} | {"groups": len(kept)}


@dataclass(frozen=True)
class CompositeSampler:
    """step -> training items, each 2M composites, and the positives among their points. Called by worker processes.

    rank, ranks: this process makes its share of the `items` of a step; the others make the rest.
    """

    sources: Sequence[Source]
    recipe: AugmentationParams
    params: TrainingParams
    rank: int = 0
    ranks: int = 1

    def choose(self, item: int) -> list[Source]:
        """M sources; within an epoch each image is taken at most once, and the next one groups them anew."""
        items = len(self.sources) // self.recipe.images
        order = numpy_generator(self.params.seed, ORDER, item // items).permutation(len(self.sources))
        first = item % items * self.recipe.images
        return [self.sources[i] for i in order[first : first + self.recipe.images]]

    def __call__(self, step: int) -> dict[str, Tensor | int]:
        """images (V, H, W, 3) uint8, and for each branch B that counts: B_view, B_points, B_group, B_groups:
        see `join_positives`.

        Raises:
            ValueError: no point of an item has a partner.
        """
        share = self.params.items // self.ranks
        first = step * self.params.items + self.rank * share
        made = [self._make(item, step) for item in range(first, first + share)]
        batch = {"images": torch.from_numpy(np.concatenate([images for images, _ in made]))}
        for branch in made[0][1]:
            joined = join_positives([points[branch] for _, points in made], [len(images) for images, _ in made])
            batch |= {f"{branch}_{name}": value for name, value in joined.items()}
        return batch

    def _make(self, item: int, step: int) -> tuple[np.ndarray, dict[str, Positives]]:
        rng = numpy_generator(self.params.seed, ITEM, item)
        made, points = make_item(self.choose(item), self.recipe, rng), {}
        draws = {
            "pixel": (self.params.pixel_weight, sample_pixel_positives, self.params.pixel_points),
            "region": (1 - self.params.pixel_weight, sample_region_positives, self.params.region_points),
        }
        for branch, (weight, draw, count) in draws.items():
            if weight > 0:
                points[branch] = draw(made, count, rng)
                if len(points[branch][0]) == 0:
                    raise ValueError(f"step {step}: no {branch} positives; look at the regions of 02: are they empty?")
        return made.images, points


class CpcdrTask:
    """What 04 trains: `networks` holds "embedder" and "prototypes"; `sample` makes composites; `loss` is eq. 7.

    Args:
        start: a finished 04 whose weights this one starts from, as far as they fit.
    Raises:
        ValueError: fewer sources than an item has images, or a start that is none for this encoder.
    """

    def __init__(
        self,
        params: TrainingParams,
        recipe: AugmentationParams,
        sources: Sequence[Source],
        start: Artifact | None = None,
    ) -> None:
        if len(sources) < recipe.images:
            raise ValueError(f"an item needs {recipe.images} images, the run has {len(sources)}: lower `images` in 03")
        self.params = params
        self.sample = CompositeSampler(sources, recipe if params.paste else replace(recipe, copies=(0, 0)), params)
        with seed_weights(params.seed):
            embedder = Embedder(params.encoder, params.dimensions)
            prototypes = Prototypes(params.prototypes, params.dimensions)
        if start is None:
            load_start(embedder.backbone, params.start, params.encoder)
        else:
            load_earlier(embedder, prototypes, start)
        self.networks = nn.ModuleDict({"embedder": embedder, "prototypes": prototypes})

    def for_rank(self, rank: int, ranks: int) -> "CpcdrTask":
        """This task as one of several processes runs it: the same networks, its share of the items of each step."""
        self.sample = replace(self.sample, rank=rank, ranks=ranks)
        return self

    def loss(self, batch: dict[str, Tensor | int], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 7: pixel_weight * loss over pixel positives + (1 - pixel_weight) * loss over region positives.

        In a training of several processes: this one's share of it, whereas the numbers are of all, but for health.
        """
        self.networks["prototypes"].renormalize()
        embeddings = self.networks["embedder"](batch["images"])
        weights = {"pixel": self.params.pixel_weight, "region": 1 - self.params.pixel_weight}
        exact = torch.float64 if embeddings.dtype == torch.float64 else torch.float32
        total, numbers = embeddings.new_zeros((), dtype=exact), {}
        with torch.autocast(embeddings.device.type, enabled=False):  # exp(score / epsilon) needs float32
            embeddings = embeddings.to(exact)
            for branch, weight in weights.items():
                if weight > 0:
                    loss, health = self._contrast(embeddings, {k: batch[f"{branch}_{k}"] for k in POINTS})
                    total = total + weight * loss
                    numbers |= {f"loss_{branch}": sum_ranks(loss.detach().clone())} | health
        return total, numbers

    def _contrast(self, embeddings: Tensor, points: dict[str, Tensor | int]) -> tuple[Tensor, dict[str, Tensor]]:
        z = F.normalize(sample_embeddings(embeddings, points["view"], points["points"]))  # (N, D)
        settings = self.params.temperature, self.params.epsilon, self.params.sinkhorn_iterations
        weight = self.networks["prototypes"].weight
        return contrast_groups(z, weight, points["group"], points["groups"], *settings)


def load_earlier(embedder: Embedder, prototypes: Prototypes, start: Artifact) -> None:
    """Weights of a finished 04: all parts that have the same shape here, the backbone among them.

    Raises:
        ValueError: it has another encoder.
    """
    earlier, directions = load_networks(start)
    if earlier.about["encoder"] != embedder.about["encoder"]:
        names = f"{earlier.about['encoder']}, not {embedder.about['encoder']}"
        raise ValueError(f"start: 04 of run {start.run!r} has a {names}: set encoder to the same")
    parts = [(getattr(embedder, name), getattr(earlier, name).state_dict()) for name in PARTS]
    if directions is not None:
        parts.append((prototypes, {"weight": directions}))
    for part, found in parts:
        if {k: v.shape for k, v in part.state_dict().items()} == {k: v.shape for k, v in found.items()}:
            part.load_state_dict(found)


def find_start(params: TrainingParams) -> list[Artifact]:
    """The finished 04 that `start` names, if it is the name of a run and no file.

    Raises:
        ArtifactError: the run's 04 is unfinished, or older than what it was made from.
    """
    is_run = params.start not in ("random", "imagenet") and (run_folder(params.start) / "04_training").is_dir()
    return [load(params.start, "04_training")] if is_run else []


def open_task(params: TrainingParams, augmentation: Artifact, start: Sequence[Artifact] = ()) -> CpcdrTask:
    """The task of 04 on the frames, depth, regions and recipe that a finished 03 stands on.

    Args:
        start: of `find_start`.
    Raises:
        ArtifactError: one of them is missing or changed. ValueError: as `CpcdrTask`.
    """
    depth, regions = (augmentation.source(name) for name in ("01_depth", "02_regions"))
    recipe = make(AugmentationParams, read_json(augmentation.path("recipe.json")))
    dataset = open_dataset(depth.params)
    # every worker, and every process, gets a copy of what is in memory
    copies = max(params.workers, 1) * params.processes
    sources = read_sources(dataset, dataset.frames("train"), depth, regions, copies)
    return CpcdrTask(params, recipe, sources, *start)
