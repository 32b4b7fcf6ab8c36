"""Parameters of the notebooks that stand on the chain; as `schemas`, which has those of the chain."""

from dataclasses import dataclass

from .fields import check, check_choice, check_fraction, check_positive, how


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
