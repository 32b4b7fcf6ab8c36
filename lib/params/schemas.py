"""One frozen dataclass a notebook of the chain: names, types, defaults (the tiny run), checks, the paper's values.

`SCHEMAS` has all notebooks; those that stand on the chain are in `later`.
"""

from dataclasses import dataclass

from .fields import check, check_choice, check_finite, check_fraction, check_not_negative, check_positive, how, length
from .later import AblationParams, FinetuningParams, SpeedParams, VideoParams

DATASETS = {
    "street": "street.dataset:Street",
    "camvid": "camvid:CamVid",
    "kitti_raw": "kitti:KittiRaw",
    "kitti_odometry": "kitti:KittiOdometry",
    "kitti_2015": "kitti_2015:Kitti2015",
    "cityscapes": "cityscapes:Cityscapes",
    "gta5": "gta5:GTA5",
    "voc": "voc:VOC",
    "coco_stuff": "coco_stuff:CocoStuff",
    "scannet": "scannet:ScanNet",
    "images": "images:ImageFolder",
    "video": "video:Video",
}
"""Name of a data set -> the module of `lib.data` and the class that read it."""
ENCODERS = ("small", "light", "resnet18", "resnet34", "resnet50")
DEPTH_SOURCES = ("learned", "measured", "stereo", "constant", "shuffled")
HUGGING_FACE = "hugging_face:"  # and a model's name, e.g. depth-anything/Depth-Anything-V2-Small-hf


@dataclass(frozen=True)
class DepthParams:
    """01_depth: which video, and how depth is learned from it (Monodepth2)."""

    run: str = "tiny"  # folder below outputs/
    seed: int = 0
    device: str = how("auto")  # auto = cuda, mps or cpu, whichever is there
    workers: int = how(2)  # processes that read or generate frames
    data_root: str = how("")  # folder of the downloads; empty = environment variable DATA_ROOT
    dataset: str = "street"  # the frames this run is about; the README lists what there is
    scored_dataset: str = ""  # another data set whose labelled frames are scored, e.g. kitti_2015 beside kitti_raw
    path: str = ""  # images, video: the folder or file
    prepare: bool = how(False)  # decode and resize each file once, into outputs/data; for large data sets
    fold: int = (
        0  # what is scored: camvid drive 0..2, the others are learned from (3: SegNet's split); kitti_2015 0..4, 5
    )
    hold_out: bool = True  # kitti_raw: the drives of Eigen's test frames are "test" (CPCDR learns from all drives)
    sequences: bool = True  # cityscapes: learn from all frames of leftImg8bit_sequence that are there
    annotations: str = "fine"  # cityscapes: fine or coarse
    label_set: str = ""  # cityscapes: 19 classes, or "27" (PiCIE, ViCE), or "7" groups
    maps: str = ""  # folder of 16-bit maps named like the frames, in place of the data set's own depth
    map_kind: str = "inverse_depth"  # what they hold: inverse_depth (or disparity), or depth (or a transit time)
    map_step: float = 1.0  # one step of 16 bits in scene units; 0 is no value
    video_step: int = 1  # video: keep every so manyth frame
    crop_bottom: float = 0.0  # share of the image height cut off below: the bonnet (real data)
    height: int = 64  # paper: 384 (Cityscapes and KITTI)
    width: int = 128  # paper: 768 (Cityscapes), 1280 (KITTI)
    keep_aspect: bool = False  # cut images to the shape of height x width, in place of stretching them (real data)
    train_clips: int = 16  # street: clips to learn from
    val_clips: int = 12  # street: clips to name clusters on
    test_clips: int = 24  # street: clips to report on
    frames_per_clip: int = 12  # street: frames of a training clip, at 10 Hz
    scored_frames_per_clip: int = 3  # street: frames of a validation or test clip
    split: str = "val"  # frames that the metrics are of: val, or test for a report
    field_of_view: float = 80.0  # degrees, horizontal; used where the video has no calibration; 0 = unknown: 70
    camera_height: float = 1.6  # metres above the road, of the generated streets
    camera_swing: float = 0.0  # degrees a second that the camera of the generated streets turns left and right
    clips: tuple[str, ...] = ("street",)  # videos that depth is learned from: DATASET or DATASET:CLIP
    frame_step: int = 1  # frames between the members of a triplet
    source: str = "learned"  # or measured, stereo, constant, shuffled, hugging_face:MODEL: depth from elsewhere
    accept_noncommercial: bool = False  # hugging_face: also models whose licence is non-commercial or unknown here
    stereo: bool = False  # learn from right images too, where there are any: depth in metres
    learn_intrinsics: str = "no"  # the focal length: no, unknown (of clips without calibration), all (as a check)
    find_bonnet: bool = False  # leave out of the loss what never changes at the bottom of the image
    bonnet: str = ""  # an image of the same shape instead: what is not black is left out of the loss
    min_change: float = 0.0  # of grey values, of 1, below which a triplet shows a camera at rest; 0.003 finds halts
    start_steps: int = 0  # steps on generated streets seen by a camera like the data's, before `clips`
    start_learning_rate: float = 1e-3  # of those steps
    steps: int = length(800)  # paper: 20 epochs
    batch: int = 4  # paper: 12; small batches give more steps a minute
    learning_rate: float = 1e-3  # paper: 1e-4 over days; 2e-3 diverged (facts sheet)
    warmup_steps: int = 50  # paper: none
    encoder: str = "small"  # or light, in 0.7 of the time; resnet18, 34, 50 (paper: resnet18)
    scales: int = 1  # resolutions the loss is taken at (paper: 4)
    min_depth: float = 0.5  # scene units (paper: 0.1)
    max_depth: float = 100.0  # scene units (paper: 100)
    pose_scale: float = 0.3  # factor on the pose network's output (paper: 0.01, from pre-trained weights)
    mask_from: float = 0.0  # share of the training after which auto_mask begins (paper: 0)
    align: bool = False  # refine the predicted motion by direct alignment, and learn it from that (paper: no)
    coarse_to_fine: bool = True  # pool the photometric loss 4x, 2x, 1x (paper: no)
    smoothness: float = 1e-3  # weight of the edge-aware smoothness (paper: 1e-3)
    ssim_weight: float = 0.85  # share of SSIM in the photometric error (paper: 0.85)
    auto_mask: bool = True  # leave out pixels that do not move with the camera (paper: yes)
    flip_probability: float = 0.5  # paper: 0.5
    jitter_probability: float = 0.5  # paper: 0.5
    checkpoint_every: int = how(200)  # steps
    expect: bool = how(True)  # on generated streets, stop when the quality is below what the text says

    def __post_init__(self) -> None:
        check_choice(self, "dataset", tuple(DATASETS))
        check_choice(self, "scored_dataset", ("", *DATASETS))
        check_choice(self, "annotations", ("fine", "coarse"))
        check_choice(self, "label_set", ("", "19", "27", "7"))
        check_choice(self, "map_kind", ("inverse_depth", "depth"))
        check_choice(self, "split", ("train", "val", "test"))
        check_choice(self, "encoder", ENCODERS)
        check_choice(self, "learn_intrinsics", ("no", "unknown", "all"))
        check(
            self.source in DEPTH_SOURCES or (self.source.startswith(HUGGING_FACE) and self.source != HUGGING_FACE),
            f"source must be {', '.join(DEPTH_SOURCES)} or {HUGGING_FACE}MODEL, not {self.source!r}",
        )
        check(
            self.source in ("learned", "shuffled") or (self.learn_intrinsics == "no" and not self.stereo),
            f"stereo and learn_intrinsics are for depth that is learned, not for source {self.source!r}: "
            "leave them at their defaults, or set source = 'learned'",
        )
        check_fraction(self, "min_change", "mask_from")
        check(
            self.height % 32 == self.width % 32 == 0 and min(self.height, self.width) >= 64,
            f"height and width must be multiples of 32 from 64 on, not {self.height} x {self.width}",
        )
        check_positive(self, "height", "width", "batch", "learning_rate", "min_depth", "frame_step", "steps")
        check_positive(self, "train_clips", "val_clips", "test_clips", "scored_frames_per_clip", "checkpoint_every")
        check(
            self.frames_per_clip >= 2 * self.frame_step + 1,
            "a training clip needs at least 2 * frame_step + 1 frames",
        )
        check(
            self.max_depth > self.min_depth,
            f"max_depth {self.max_depth} must exceed min_depth {self.min_depth}",
        )
        check(
            0 <= self.field_of_view < 180,
            f"field_of_view must lie in 0..180 degrees, not {self.field_of_view}",
        )
        check(
            self.field_of_view > 0 or "street" not in (self.dataset, *self.clips),
            "generated streets need a field_of_view above 0",
        )
        check(1 <= self.scales <= 4, f"scales must be 1 to 4, not {self.scales}")
        check(0 <= self.fold <= 5, f"fold must be 0 to 5, not {self.fold}")
        check(0 <= self.crop_bottom < 0.9, f"crop_bottom must lie in 0..0.9, not {self.crop_bottom}")
        check_positive(self, "video_step", "map_step")
        check_fraction(self, "ssim_weight", "flip_probability", "jitter_probability")
        for clip in self.clips:
            name = clip.split(":")[0]
            check(name in DATASETS, f"clips: {name!r} is none of {', '.join(DATASETS)}")


REGION_SOURCES = ("depth", "slic", "grid", "felzenszwalb", "contours", "truth", "learned")
RELEASED = {
    "smoothing": 1.0,
    "units": "axes",
    "color_weight": 0.0,
    "bias": -4.0,
    "cut": 0.2,
    "min_inverse_depth": 0.005,
}
REGION_PRESETS = {  # for about 10,000 superpixels an image; the first two: facts/cpcdr.md sec. 4, 5
    "full": RELEASED | {"occlusion_weight": 36.0, "support_weight": 2.5},  # a comment in the released code
    "released": RELEASED  # its active line, and what else it does
    | {
        "occlusion_weight": 48.0,
        "support_weight": 0.0,
        "preferred_modules": 10,
        "camera": "released",
        "support_height": "mean",
        "search": "full",
    },
    "fitted": {  # by purity above SLIC's on six validation streets of 384 x 768 with true depth (clips 6 to 11)
        "smoothing": 1.0,
        "units": "axes",
        "occlusion_weight": 9.0,
        "support_weight": 1000.0,
        "color_weight": 0.1,
        "bias": -4.0,
        "cut": 0.04,
        "min_inverse_depth": 0.03,
    },
}
"""Name -> the constants of `RegionParams` that it sets, whatever else is given for them."""


@dataclass(frozen=True)
class RegionParams:
    """02_regions: from depth to coherent depth regions (CPCDR sec. 3.2)."""

    run: str = "tiny"
    seed: int = 0  # of Infomap
    workers: int = how(2)  # processes, some frames each
    scheduler: str = how("")  # address of a Dask cluster, e.g. tcp://10.0.0.1:8786; empty = processes of this machine
    upstream: str = ""  # another run whose 01 is used, for comparisons; empty = this run
    depth: str = "predicted"  # predicted by 01, or truth where the data set has it
    source: str = "depth"  # regions: depth (the paper's), slic, grid, felzenszwalb, contours, truth, learned
    count: int = 0  # of slic, grid, felzenszwalb, contours; 0 = as many as depth gives; of learned: at most
    learned_from: str = ""  # source learned: another run, whose 04 says what looks alike
    learned_clusters: int = 20  # source learned: into as many its prototypes are merged
    learned_weight: float = 4.0  # source learned: joins eq. 3 where two neighbours are of different clusters
    superpixels: int = 500  # paper: 10000 at 1024 x 2048
    compactness: float = 10.0  # of SLIC: weight of position against colour (paper: 10)
    smoothing: float = 0.0  # * of SLIC: Gaussian sigma in pixels (paper: 1, on images 16 times as wide)
    slic_iterations: int = 10  # of k-means, scikit-image's default; 3 take a third of its time (notebook 10)
    preset: str = "none"  # full (36, 2.5, -4), released (48, 0, -4) or fitted (9, 1000, -4) replace constants marked *
    occlusion_weight: float = 9.0  # * w_ocln of eq. 3 (released code: 48 or 36, for smaller superpixels)
    support_weight: float = 320.0  # * w_sup of eq. 3 (released code: 0 or 2.5, heights in units of another sky)
    color_weight: float = 0.1  # * of the colour difference, in CIELAB units; 0 = eq. 3 as printed (released code: 0)
    bias: float = -4.0  # * b of eq. 3 (released code: -4)
    cut: float = 0.04  # * edges below this weight are never a final border (released code: 0.2)
    min_inverse_depth: float = 0.03  # * share of the largest value; farther is pulled in (released code: 0.005 of 1)
    camera: str = "own"  # * own = of each frame, or released: the constants of its code, whatever the camera
    preferred_modules: int = 0  # * that Infomap aims at; 0 = none (released code: 10, and then seeds disagree)
    support_height: str = "lower"  # * eq. 2 looks at the lower neighbour (paper), or at their mean (released code)
    units: str = "axes"  # * x, height, z each in its own standard deviation (released code), or scene: one unit for all
    search: str = "fast"  # * Infomap: fast, or full: a codelength about 1 % shorter, a quarter to two thirds more time
    trials: int = 1  # Infomap runs per level; the best codelength wins
    expect: bool = how(True)  # as in 01

    def __post_init__(self) -> None:
        check_choice(self, "depth", ("predicted", "truth"))
        check_choice(self, "source", REGION_SOURCES)
        check_choice(self, "preset", ("none", *REGION_PRESETS))
        check_choice(self, "camera", ("own", "released"))
        check_choice(self, "support_height", ("lower", "mean"))
        check_choice(self, "units", ("axes", "scene"))
        check_choice(self, "search", ("fast", "full"))
        if self.preset != "none":
            for name, value in REGION_PRESETS[self.preset].items():
                object.__setattr__(self, name, value)
        check_finite(self)
        check_positive(self, "superpixels", "compactness", "slic_iterations", "trials", "min_inverse_depth")
        check_fraction(self, "cut", "min_inverse_depth")
        check_not_negative(self, "smoothing", "count", "preferred_modules")
        check_not_negative(self, "occlusion_weight", "support_weight", "color_weight", "learned_weight")
        check(
            bool(self.learned_from) == (self.source == "learned"),
            "source = 'learned' and learned_from, the run whose 04 is used, go together",
        )
        check(
            self.learned_from != self.run or not self.run,
            f"learned_from must be another run than {self.run!r}: its own 04 comes after 02",
        )
        check(1 <= self.learned_clusters <= 256, f"learned_clusters must be 1 to 256, not {self.learned_clusters}")


@dataclass(frozen=True)
class AugmentationParams:
    """03_augmentation: how regions travel between images (CPCDR sec. 3.3); saved as recipe.json for 04."""

    run: str = "tiny"
    seed: int = 0
    upstream: str = ""  # another run whose 01 and 02 are used, for comparisons; empty = this run
    images: int = 4  # M of Table 4 (paper: 8; its Table 4 finds 4 about as good, and a step costs half)
    copies: tuple[int, ...] = (2, 4)  # pastes of each region in rounds 1 and 2 (paper: e = 2, 4)
    min_scale: float = 0.2  # of a paste (released code: 0.2)
    max_scale: float = 2.0  # of a paste (released code: 2)
    paste_flip_probability: float = 0.5  # released code: 0.5
    height_threshold: float = 0.042  # h_t, share of the image height (released code: 16 of 384 rows)
    min_region_height: float = 0.042  # share of the image height; smaller is not pasted (16 of 384)
    min_region_width: float = 0.016  # share of the image height (6 of 384)
    min_region_side: float = 0.083  # share of the image height; both sides below: not pasted (32 of 384)
    color_probability: float = 0.8  # jitter of a patch and of a whole image (released code: 0.8)
    brightness: float = 0.25  # jitter, in 1 +- this (released code: 0.5)
    contrast: float = 0.25  # released code: 0.5
    saturation: float = 0.25  # released code: 0.5
    hue: float = 0.03  # jitter, in turns (released code: 0.2)
    gray_probability: float = 0.0  # released code: 0.1
    blur_probability: float = 0.2  # released code: 0.2
    max_zoom: float = 2.0  # area factor of the whole-image resize, from 1 (released code: 2)
    max_stretch: float = 1.333  # aspect factor of the whole-image resize (released code: 4/3)
    view_flip_probability: float = 0.5  # released code: 0.5
    samples: int = 4  # items drawn for the checks and figures of this notebook

    def __post_init__(self) -> None:
        check(self.images >= 1, f"images must be at least 1, not {self.images}")
        check(
            len(self.copies) == 2 and min(self.copies) >= 0,
            f"copies must be two counts, one a round, not {list(self.copies)}",
        )
        check(
            0 < self.min_scale < self.max_scale,
            f"min_scale {self.min_scale} must lie between 0 and max_scale {self.max_scale}",
        )
        check(self.max_zoom >= 1 and self.max_stretch >= 1, "max_zoom and max_stretch must be at least 1")
        check_fraction(self, "paste_flip_probability", "color_probability", "gray_probability", "blur_probability")
        check_fraction(self, "view_flip_probability", "height_threshold", "min_region_height", "min_region_width")
        check_fraction(self, "min_region_side", "brightness", "contrast", "saturation")
        check(0 <= self.hue <= 0.5, f"hue must lie in 0..0.5 turns, not {self.hue}")


@dataclass(frozen=True)
class TrainingParams:
    """04_training: dense contrastive learning from composites (CPCDR sec. 3.4)."""

    run: str = "tiny"
    seed: int = 0
    device: str = how("auto")
    workers: int = how(1)  # processes that make composites ahead of the training; 0 = in the main process
    composites: str = how("auto")  # made by workers (OpenCV), on the device (torch), or auto: there if it is a GPU
    processes: int = how(1)  # that train together, each with its share of the items of a step, and on a GPU of its own
    precision: str = (
        "auto"  # float32, bfloat16, or auto: bfloat16 where the device has instructions for it (paper: AMP)
    )
    deterministic: bool = how(False)  # on a GPU too, where it is slower: the same tensors from the same start
    compiled: bool = how(False)  # by torch.compile; a minute or more before the first step
    upstream: str = ""  # another run whose 01 to 03 are used, for comparisons; empty = this run
    items: int = 1  # a step, of 2 M images each, with one set of codes (released code: 1)
    paste: bool = True  # False: the same views without a single paste (M = 0 of Table 4)
    encoder: str = "resnet18"  # paper: resnet50
    start: str = "random"  # random, imagenet (torchvision), a file of a backbone, or another run: its 04
    dimensions: int = 64  # of the embedding (paper: 128)
    prototypes: int = 256  # K of eq. 4 (paper: 1000)
    pixel_weight: float = 0.5  # lambda of eq. 7: 1 = pixels only, 0 = regions only (paper: 0.5)
    pixel_points: int = 800  # pixel positives start from this many points an image (released code: 4000)
    region_points: int = 1200  # points an image for region positives (released code: 7200)
    temperature: float = 0.1  # tau of eq. 4 (released code: 0.1)
    epsilon: float = 0.01  # of Sinkhorn-Knopp; larger values learn height alone (released code: 0.05)
    sinkhorn_iterations: int = 3  # released code: 3
    steps: int = length(320)  # one item of 2 M images each (paper: 25 epochs)
    optimizer: str = "adam"  # adam or sgd (released code: sgd, at 0.1)
    learning_rate: float = 1e-3  # released code: 0.1
    final_learning_rate: float = 1e-5  # end of the cosine (released code: 1e-5)
    warmup_steps: int = 30  # released code: 2 epochs
    momentum: float = 0.9  # of sgd; adam's first beta (released code: 0.9)
    weight_decay: float = 0.0  # released code: 1e-4
    checkpoint_every: int = how(200)  # steps
    picture_every: int = how(100)  # steps between the pictures of the replay
    tensorboard: bool = how(False)  # numbers and pictures for TensorBoard too, in tensorboard/ of this stage
    expect: bool = how(True)

    def __post_init__(self) -> None:
        check_choice(self, "encoder", ENCODERS[2:])
        check_choice(self, "optimizer", ("adam", "sgd"))
        check_positive(self, "dimensions", "prototypes", "pixel_points", "region_points", "temperature", "epsilon")
        check_positive(self, "sinkhorn_iterations", "steps", "learning_rate", "checkpoint_every", "picture_every")
        check_fraction(self, "pixel_weight", "momentum")
        check_choice(self, "composites", ("auto", "workers", "device"))
        check_choice(self, "precision", ("auto", "float32", "bfloat16"))
        check(self.workers >= 0, f"workers must not be negative, not {self.workers}")
        check_positive(self, "items", "processes")
        check(
            self.items % self.processes == 0,
            f"{self.processes} processes cannot share {self.items} items a step: let items be a multiple of processes",
        )


@dataclass(frozen=True)
class EvaluationParams:
    """05_evaluation: from prototypes to named classes and scores (CPCDR sec. 3.5)."""

    run: str = "tiny"
    seed: int = 0  # of k-means, and of the ceiling
    device: str = how("auto")
    upstream: str = ""  # another run whose 01 to 04 are scored; empty = this run
    score_data: str = ""  # a run whose 01 names the frames that are scored; empty = that of upstream
    split: str = "val"  # the frames that are scored
    match_split: str = "val"  # the labelled frames that give the clusters their names
    clusters: int = 0  # 0 = as many as there are classes
    represent: str = "prototypes"  # what is merged: prototypes (paper), members (mean of each), centred, or pixels
    linkage: str = "average"  # paper: average
    k_means_seeds: int = 3  # of each kind of k-means in the matrix of protocols
    position_weight: float = 1.0  # of the floor: k-means on Lab colour and position
    ceiling_steps: int = 0  # train the same network with labels, this long, as an upper mark; 0 = do not
    pictures: int = 6  # frames shown
    record: str = how("compare_seeds")  # scores of longer runs to show, of outputs/reference/NAME.json; empty = none
    expect: bool = how(True)

    def __post_init__(self) -> None:
        check_choice(self, "split", ("train", "val", "test"))
        check_choice(self, "match_split", ("train", "val", "test"))
        check_choice(self, "represent", ("prototypes", "members", "centred", "pixels"))
        check_choice(self, "linkage", ("average", "complete", "single"))
        check(self.clusters >= 0, f"clusters must not be negative, not {self.clusters}")
        check_positive(self, "k_means_seeds")


SCHEMAS = {
    "01_depth": DepthParams,
    "02_regions": RegionParams,
    "03_augmentation": AugmentationParams,
    "04_training": TrainingParams,
    "05_evaluation": EvaluationParams,
    "06_finetuning": FinetuningParams,
    "09_ablations": AblationParams,
    "10_speed": SpeedParams,
    "11_your_video": VideoParams,
}
"""Notebook name -> its parameters."""
