"""Parameters of the notebooks that stand on the chain; as `schemas`, which has those of the chain."""

from dataclasses import dataclass

from .fields import check, check_choice, check_fraction, check_not_negative, check_positive, how


@dataclass(frozen=True)
class FinetuningParams:
    """06_finetuning: what labels make of trained weights (CPCDR sec. 4.2, ViCE sec. 4.2)."""

    run: str = "tiny"
    seed: int = 0  # of k-means, of which cells are sampled, and of the probes
    device: str = how("auto")
    workers: int = how(0)  # processes that read frames ahead
    upstream: str = ""  # another run whose 01 and 04 are used; empty = this run
    learn_data: str = ""  # a run whose 01 names the frames with labels to learn from; empty = that of upstream
    score_data: str = ""  # a run whose 01 names the frames that are scored; empty = as learn_data
    split: str = "val"  # the frames that are scored
    folds: tuple[int, ...] = ()  # of the data set: train and score once for each; empty = the fold of 01
    fold_runs: tuple[str, ...] = ()  # for each of folds the run whose 04 is "own" there; empty = upstream in all
    cells: int = 8000  # training cells of 4 x 4 pixels, for neighbours and over-clustering
    neighbours: int = 20  # that vote for a cell's class
    over_clusters: tuple[int, ...] = (27, 128, 256)  # ViCE: 27, 128, 256
    cluster_seeds: int = 3  # of k-means
    probe_steps: int = 100  # of the linear probe (ViCE: 12000)
    probe_learning_rate: float = 0.3  # ViCE: 0.01, for so many more steps
    probe_weight_decay: float = 5e-4  # ViCE: 5e-4
    probe_batch: int = 8  # frames; ViCE: 16
    starts: tuple[str, ...] = ("random", "own")  # or imagenet, another run, a file of another project's weights
    fractions: tuple[float, ...] = (0.0625, 1.0)  # of the labels (the papers: 1/30, 1/16, 1/8, 1/4, 1)
    label_seed: int = 0  # of the order in which frames get labels
    seeds: tuple[int, ...] = (0,)  # of the trainings
    seed_runs: tuple[str, ...] = ()  # for each of seeds the run whose 04 is "own" there, as lib.run --seeds makes them
    network: str = "semantic_fpn"  # or deeplab_v3 (PixDepth)
    encoder: str = ""  # empty = that of 04
    output_stride: int = 16  # of deeplab_v3: 8 or 16
    frozen: bool = False  # keep the backbone as it is, and train what is around it
    precision: str = "auto"  # as in 04
    steps: int = 80  # of each training (CPCDR: 24000; with 1/16 of the labels 6000)
    fraction_steps: tuple[int, ...] = ()  # for each of fractions its own steps; empty = as many for all
    batch: int = 8  # CPCDR: 8, of its instances
    optimizer: str = "sgd"
    learning_rate: float = 0.05  # CPCDR: 0.01, of its instances
    final_learning_rate: float = 0.0
    warmup_steps: int = 10
    schedule: str = "poly"  # poly, or cosine
    momentum: float = 0.9
    weight_decay: float = 1e-4
    checkpoint_every: int = how(500)  # steps
    instance_steps: int = 0  # of Mask R-CNN, with the largest of the fractions (CPCDR: 24000); 0 = no instances
    instance_optimizer: str = "adam"  # CPCDR: sgd
    instance_learning_rate: float = 5e-4  # CPCDR: 0.01, of sgd
    record: str = "finetuning-street"  # longer tables to show, of outputs/reference/NAME.json; empty = none
    expect: bool = how(True)

    def __post_init__(self) -> None:
        check_choice(self, "split", ("val", "test"))
        check_choice(self, "network", ("semantic_fpn", "deeplab_v3"))
        check_choice(self, "encoder", ("", "resnet18", "resnet34", "resnet50"))
        check(self.output_stride in (8, 16), f"output_stride must be 8 or 16, not {self.output_stride}")
        check_choice(self, "precision", ("auto", "float32", "bfloat16"))
        for name in ("optimizer", "instance_optimizer"):
            check_choice(self, name, ("adam", "sgd"))
        check_choice(self, "schedule", ("poly", "cosine"))
        check_positive(self, "cells", "neighbours", "probe_steps", "probe_learning_rate", "steps", "learning_rate")
        check_not_negative(self, "probe_weight_decay")
        check(self.probe_batch >= 2, f"probe_batch must be at least 2, not {self.probe_batch}")
        check_positive(self, "cluster_seeds", "checkpoint_every", "instance_learning_rate")
        check_not_negative(self, "instance_steps", "warmup_steps", "final_learning_rate", "weight_decay")
        check_fraction(self, "momentum")
        check(self.batch >= 2, f"batch must be at least 2, not {self.batch}: batch normalisation needs several images")
        check(
            bool(self.starts and self.fractions and self.seeds), "starts, fractions and seeds need one value at least"
        )
        for name in ("starts", "fractions", "seeds", "folds"):
            values = getattr(self, name)
            check(len(set(values)) == len(values), f"{name}: one value stands twice in {list(values)}")
        for name in ("fold", "seed"):
            runs, of = getattr(self, f"{name}_runs"), getattr(self, f"{name}s")
            known = f"{name}_runs names {len(runs)} runs for {len(of)} {name}s: give one for each, or none"
            check(not runs or len(runs) == len(of), known)
        check(not (self.fold_runs and self.seed_runs), "give fold_runs or seed_runs, not both")
        given, shares = len(self.fraction_steps), len(self.fractions)
        known = f"fraction_steps has {given} numbers for {shares} fractions: give one for each, or none"
        check(given in (0, shares) and all(steps > 0 for steps in self.fraction_steps), known)
        check(all(0 < f <= 1 for f in self.fractions), f"fractions must lie in 0..1, above 0: {list(self.fractions)}")
        check(all(k >= 2 for k in self.over_clusters), f"over_clusters must be 2 or more: {list(self.over_clusters)}")


@dataclass(frozen=True)
class AblationParams:
    """09_ablations: one factor at a time (CPCDR sec. 4.3, tables 3 and 4)."""

    run: str = "tiny"
    device: str = how("auto")
    workers: int = how(0)  # processes that make composites, and cut regions; short trainings do better without
    processes: int = how(1)  # trainings beside each other, with one thread each; workers are then 0
    seed: int = 0  # of nothing here; `seeds` are those of the trainings
    upstreams: tuple[str, ...] = ()  # runs whose 01 to 04 say what is trained on and how, e.g. folds; empty = this run
    split: str = "val"  # the frames that are scored
    match_split: str = "val"  # the labelled frames that give the clusters their names
    seeds: tuple[int, ...] = (0, 1)  # of the trainings, paired; the ledger of claims has 8, of CamVid 3
    images: int = 4  # the base: M of an item (paper: 8)
    pixel_weight: float = 0.5  # the base: lambda of eq. 7 (paper: 0.5)
    regions: str = "depth"  # the base: the kind of region
    vary_images: tuple[int, ...] = (0,)  # M in its place; 0 = no paste (paper: 0, 2, 4)
    vary_weights: tuple[float, ...] = ()  # lambda in its place (paper: 0, 1)
    vary_regions: tuple[str, ...] = ()  # paper: contours, truth; beside these grid and slic
    floor: bool = True  # beside all, what random weights give in the place of a training, and colour with position
    steps: int = 20  # of the base; with fewer images a step there are more (paper: 100 epochs of 2975 images)
    batch: int = 8  # of the training with labels (paper: 8, of its instances)
    fraction: float = 0.0625  # of the labels (paper: 1/16)
    finetune_steps: int = 15  # paper: 6000
    finetune_learning_rate: float = 0.05  # CPCDR: 0.01, of its instances
    record: str = "ablations-street"  # a longer table to show, of outputs/reference/NAME.json; empty = none
    expect: bool = how(True)

    def __post_init__(self) -> None:
        for name in ("split", "match_split"):
            check_choice(self, name, ("train", "val", "test"))
        for kind in (self.regions, *self.vary_regions):
            known = ("depth", "slic", "grid", "felzenszwalb", "contours", "truth")
            check(kind in known, f"regions must be of {', '.join(known)}; not {kind!r}")
        check(
            all(m == 0 or m >= 2 for m in self.vary_images), f"vary_images: 0, or 2 and more: {list(self.vary_images)}"
        )
        check(self.images >= 2, f"images must be at least 2, not {self.images}: the base pastes")
        weights = (self.pixel_weight, *self.vary_weights)
        check(all(0 <= weight <= 1 for weight in weights), f"weights must lie in 0..1: {list(weights)}")
        check(0 < self.fraction <= 1, f"fraction must lie in 0..1, above 0, not {self.fraction}")
        check_positive(self, "steps", "batch", "finetune_steps", "finetune_learning_rate", "processes")
        check(
            bool(self.seeds) and len(set(self.seeds)) == len(self.seeds), f"seeds: one of each, not {list(self.seeds)}"
        )


@dataclass(frozen=True)
class SpeedParams:
    """10_speed: how long the steps take on this machine, and what short cuts cost."""

    run: str = "tiny"
    seed: int = 0
    workers: int = 2  # processes, beside one
    height: int = 64  # of generated frames; params/speed has 384 x 768, as the papers
    width: int = 128
    superpixels: int = 500
    smoothing: float = 0.0  # as in 02
    frames: int = 2  # each of another street
    repeats: int = 3  # of everything that is timed, in turn; medians are kept
    trials: int = 10  # of Infomap, beside a single one
    seeds: int = 3  # of Infomap, whose partitions are compared
    moves: int = 40  # of the panel's sliders
    images: int = 2  # M of an item of composites; params/speed has 8, as the papers
    device: str = how("auto")  # of the training step, and composites once more; all else is measured on one core
    encoder: str = "resnet18"  # whose training step is measured
    dimensions: int = 64  # of its embedding; this and the next three as in 04, in params/speed as in the paper
    prototypes: int = 256
    pixel_points: int = 800
    region_points: int = 1200
    steps: int = 8  # of a short training

    def __post_init__(self) -> None:
        check_positive(self, "workers", "superpixels", "frames", "repeats", "moves", "images")
        check_positive(self, "dimensions", "prototypes", "pixel_points", "region_points", "steps")
        check_choice(self, "encoder", ("resnet18", "resnet34", "resnet50"))
        check(self.smoothing >= 0, f"smoothing must not be negative, not {self.smoothing}")
        for name in ("trials", "seeds"):
            check(getattr(self, name) >= 2, f"{name} must be at least 2, not {getattr(self, name)}")
        check(
            self.height >= 32 and self.width >= 32, f"frames must be 32 x 32 at least, not {self.height} x {self.width}"
        )


@dataclass(frozen=True)
class VideoParams:
    """11_your_video: a trained run looks at a video of yours."""

    run: str = "tiny"
    seed: int = 0
    device: str = how("auto")
    workers: int = how(2)  # processes that group regions
    upstream: str = ""  # the trained run that looks at it, 01 to 04 and, for names, 05; empty = this run
    path: str = ""  # video file, or folder of frames; empty = the video the run learned from, else a generated street
    start: float = 0.0  # seconds from the beginning that are passed over
    seconds: float = 4.0  # how much is looked at; 0 = to the end
    video_step: int = 0  # keep every so manyth frame; 0 = as the run did with its own video, else 1
    crop_bottom: float = -1.0  # share of the image height cut off below: the bonnet; -1 = as the run did, else 0
    field_of_view: float = 0.0  # degrees, horizontal; 0 = unknown: that of the run
    naming: str = "prototypes"  # who gets the name of a class: prototypes, each its own, or clusters (05's one-to-one)
    clusters: int = 12  # where the run has no 05, so that there are no names: how many groups
    output_height: int = 0  # of the pictures in the videos, in pixels; 0 = 360, of the generated street twice the run's
    opacity: float = 0.5  # of the labels over the picture
    regions: bool = True  # group regions too; half of the time

    def __post_init__(self) -> None:
        check_choice(self, "naming", ("prototypes", "clusters"))
        check_fraction(self, "opacity")
        check(self.video_step >= 0, f"video_step must not be negative, not {self.video_step}")
        check(self.output_height == 0 or self.output_height >= 32, "output_height must be 0, or at least 32")
        check(self.start >= 0 and self.seconds >= 0, "start and seconds must not be negative")
        check(
            self.crop_bottom == -1 or 0 <= self.crop_bottom < 0.9,
            f"crop_bottom must be -1 or lie in 0..0.9, not {self.crop_bottom}",
        )
        check(0 <= self.field_of_view < 180, f"field_of_view must lie in 0..180 degrees, not {self.field_of_view}")
        check(self.clusters >= 2, f"clusters must be at least 2, not {self.clusters}")
