"""CPCDR: composites of depth regions, and the two contrastive losses over them (sec. 3.3 and 3.4, eq. 7).

Source: facts/cpcdr.md sec. 6 to 10. Ours: the images of an item are drawn anew each epoch; each branch (pixels,
regions) balances its own codes, as the release does.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..artifacts import Artifact, load, read_json, run_folder
from ..copy_paste import Source
from ..data import open_dataset
from ..networks import PARTS, Embedder, load_networks, sample_embeddings, seed_weights
from ..parallel.ranks import sum_ranks
from ..params import AugmentationParams, TrainingParams, make
from ..prototypes import Prototypes, contrast_groups
from ..starts import load_start
from .composites import CompositeSampler, executes_on_device
from .sources import read_sources

POINTS = ("view", "points", "group", "groups")  # of a batch, for each branch: see `join_positives`


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
        self.sample = CompositeSampler(
            sources, recipe if params.paste else replace(recipe, copies=(0, 0)), params, lazy=executes_on_device(params)
        )
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

    def make_batch(self, step: int) -> dict[str, Tensor | int]:
        """The batch of a step on the CPU, wherever the training makes it."""
        batch = self.sample(step)
        return batch if isinstance(batch, dict) else batch.to("cpu")

    def loss(self, batch: dict[str, Tensor | int], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 7: pixel_weight * loss over pixel positives + (1 - pixel_weight) * loss over region positives.

        In a training of several processes: this one's share of it, whereas the numbers are of all, but for health.
        """
        self.networks["prototypes"].renormalize()
        return self.compare(self.networks["embedder"](batch["images"]), batch)

    def compare(self, embeddings: Tensor, batch: dict[str, Tensor | int]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of embeddings (V, D, H/4, W/4) of the images, and numbers to log; as `loss`."""
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
        ValueError: it is the run itself, whose weights would be gone when they are asked for.
    """
    is_run = params.start not in ("random", "imagenet") and (run_folder(params.start) / "04_training").is_dir()
    if is_run and run_folder(params.start) == run_folder(params.run):
        raise ValueError(
            f"start = {params.start!r} is this run itself, whose 04 would be replaced: give it another name"
        )
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
    # every process, and every worker of it, gets a copy of what is in memory; so does the one that starts several
    copies = (params.workers + 1) * params.processes + (params.processes > 1)
    sources = read_sources(dataset, dataset.frames("train"), depth, regions, params.workers, copies)
    return CpcdrTask(params, recipe, sources, *start)
