"""Regions from every source side by side: how well they fit the truth, at the same number of regions a frame.

    python -m lib.run.regions street --split val --record regions
    python -m lib.run.regions street --learned-from street --seeds 0 1 2
    python -m lib.run.regions street --sources depth --vary units=scene,support_weight=8 preset=released

Takes depth and parameters from a run whose 01 is finished. Slic, grid, felzenszwalb and contours cut each frame into as
many regions as depth gives it; truth and learned keep their own number, and learned is also merged to the equal one.
`--vary` adds depth regions of other parameters. As numbers of regions differ then, purity is also told beside that of
SLIC at as many. Frames of a clip show one street, so intervals draw clips.
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from .. import ROOT, artifacts, data, params
from ..data import Frame
from ..parallel import numpy_generator, parallel_map
from ..params import RegionParams
from ..params.schemas import REGION_SOURCES
from ..regions import FrameGrouper
from ..regions.metrics import count_sizes, cut_slic, fit_exponent, measure_sizes, purity, score_regions, sum_tail
from ..regions.sources import OWN_COUNT, Observation, choose_source, cut_regions
from .ablation import parse_changes
from .reference import REFERENCE

SAMPLES = 2000  # of the bootstrap
TAIL = 0.01  # share of the image from which sizes are fitted: smaller regions are as large as superpixels let them be
MERGED = "learned, merged"
SHOWN = {
    "regions_per_frame": "regions",
    "purity": "purity",
    "purity_minus_depth": "minus depth's",
    "purity_minus_slic": "minus SLIC's at as many",
    "asa": "ASA",
    "boundary_recall": "boundary recall",
    "under_segmentation": "under-segmentation",
    "largest_region": "largest region",
    "median_region": "median region",
    "size_exponent": "exponent of sizes",
}
"""Number of a source -> the head of its column."""


@dataclass(frozen=True)
class FrameCutter:
    """Callable on a frame and its clusters, sent to other processes: one row of numbers a source and seed.

    sources: names as in `RegionParams.source`. smallest: pixels from which sizes count for their exponent.
    variants: name -> parameters of 02 that give depth regions of another kind.
    """

    grouper: FrameGrouper
    sources: tuple[str, ...]
    seeds: tuple[int, ...]
    smallest: int
    variants: Mapping[str, RegionParams] = field(default_factory=dict)

    def __call__(self, item: tuple[Frame, np.ndarray | None]) -> list[dict[str, Any]]:
        frame, clusters = item
        dataset, rows = self.grouper.dataset, []
        labels, instances = dataset.labels(frame), dataset.instances(frame)
        camera = self.grouper.inverse_depth(frame), self.grouper.intrinsics(frame)
        seen = Observation(dataset.image(frame), *camera, labels, instances, clusters)
        base = self.grouper.stage.params

        @cache
        def purity_of_slic(count: int) -> float:
            return purity(cut_slic(seen.image, count, base.compactness, base.smoothing), labels)

        for seed in self.seeds:
            values = replace(base, seed=seed)
            depth = self._cut(seen, "depth", values)
            found = {"depth": depth} | {
                name: self._cut(seen, name, values, 0 if name in OWN_COUNT else int(depth[0].max()))
                for name in self.sources
                if name != "depth"
            }
            if "learned" in found:
                found[MERGED] = self._cut(seen, "learned", values, int(depth[0].max()))
            for name, other in self.variants.items():
                found[name] = self._cut(seen, "depth", replace(other, seed=seed))
            scores = {name: score_regions(ids, labels, instances) for name, (ids, _) in found.items()}
            for name, (ids, seconds) in found.items():
                row = {"source": name, "seed": seed, "block": dataset.block(frame), "seconds_per_frame": seconds}
                row |= {"regions_per_frame": int(ids.max())} | scores[name] | measure_sizes(ids)
                row["purity_minus_depth"] = scores[name]["purity"] - scores["depth"]["purity"]
                row["purity_minus_slic"] = scores[name]["purity"] - purity_of_slic(int(ids.max()))
                row["tail"], row["logarithms"] = sum_tail(count_sizes(ids), self.smallest)
                rows.append(row)
        return [row for row in rows if row["source"] in (*self.sources, MERGED, *self.variants)]

    def _cut(self, seen: Observation, source: str, values: RegionParams, count: int = 0) -> tuple[np.ndarray, float]:
        """Regions and the seconds that they took."""
        own = choose_source(values, source, count)
        started = time.perf_counter()
        return cut_regions(seen, own), time.perf_counter() - started


def bootstrap_ratio(above: np.ndarray, below: np.ndarray, seed: int = 0) -> tuple[float, float] | None:
    """95 % interval of sum(above) / sum(below) when other clips might have been drawn.

    Args:
        above, below: of each clip, e.g. the sum of a score over its frames and their number. (N,), (N,)
    Returns:
        Both ends; None for a single clip, or where all clips of a draw have nothing to divide by.
    """
    if len(above) < 2:
        return None
    drawn = numpy_generator(seed, len(above)).integers(0, len(above), (SAMPLES, len(above)))
    with np.errstate(invalid="ignore", divide="ignore"):  # clips without any size above the bound
        ratios = above[drawn].sum(axis=1) / below[drawn].sum(axis=1)
    if not np.isfinite(ratios).all():
        return None
    low, high = np.quantile(ratios, (0.025, 0.975))
    return float(low), float(high)


def collect(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Source -> number -> mean over frames and seeds, its interval over clips, and its mean at each seed."""
    found: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(row["source"] for row in rows):
        own = [row for row in rows if row["source"] == name]
        blocks = list(dict.fromkeys(row["block"] for row in own))
        of_block = np.array([[row["block"] == block for row in own] for block in blocks], float)
        seeds = list(dict.fromkeys(row["seed"] for row in own))
        of_seed = np.array([[row["seed"] == seed for row in own] for seed in seeds], float)
        found[name] = {}
        for key in (*SHOWN, "seconds_per_frame"):
            sums = ("tail", "logarithms") if key == "size_exponent" else (key, "")
            above, below = (np.array([row[s] if s else 1.0 for row in own], float) for s in sums)
            finish = (lambda ratio: 1 + ratio) if key == "size_exponent" else float
            interval = bootstrap_ratio(of_block @ above, of_block @ below)
            by_seed = [_divide(a, b, key) for a, b in zip(of_seed @ above, of_seed @ below)]
            low, high = map(finish, interval) if interval else (None, None)
            found[name][key] = {"mean": _divide(above.sum(), below.sum(), key), "low": low, "high": high}
            found[name][key] |= {"by_seed": by_seed} if len(seeds) > 1 else {}
    return found


def _divide(above: float, below: float, key: str) -> float | None:
    """A mean, or the exponent; None where no region is large enough for one."""
    value = fit_exponent(above, below) if key == "size_exponent" else above / below
    return float(value) if np.isfinite(value) else None


def describe(found: Mapping[str, Any]) -> str:
    """The table in Markdown: means with their 95 % intervals, and milliseconds a frame."""
    lines = [f"| source | {' | '.join(SHOWN.values())} | ms a frame |", "|---" * (len(SHOWN) + 2) + "|"]
    for name, numbers in found["sources"].items():
        cells = ["" if key == "purity_minus_depth" and name == "depth" else _show(numbers[key], key) for key in SHOWN]
        lines.append(f"| {name} | {' | '.join(cells)} | {1000 * numbers['seconds_per_frame']['mean']:.0f} |")
    about = found["protocol"]
    lines += ["", f"{about['frames']} labelled frames of {about['clips']} clips, split {about['split']}; in brackets "]
    lines[-1] += f"the 95 % interval over clips; seeds {', '.join(map(str, about['seeds']))}; the exponent is that of "
    lines[-1] += f"regions from {about['smallest_pixels']} pixels on."
    return "\n".join(lines)


def _show(number: Mapping[str, Any], key: str) -> str:
    digits = {"regions_per_frame": ".1f", "size_exponent": ".2f", "median_region": ".4f"}
    digits |= dict.fromkeys(("purity_minus_depth", "purity_minus_slic"), "+.3f")
    form, (mean, low, high) = digits.get(key, ".3f"), (number[k] for k in ("mean", "low", "high"))
    return "" if mean is None else f"{mean:{form}}" + ("" if low is None else f" ({low:{form}} to {high:{form}})")


def read_run(run: str) -> tuple[RegionParams, artifacts.Artifact]:
    """Parameters of 02, of the finished stage or of the parameter file of that name, and the 01 that they stand on.

    Raises:
        ArtifactError: 01, or both kinds of parameters, are missing; says what to run.
    """
    file = ROOT / "params" / Path(run).name / "02_regions.yaml"
    if (artifacts.run_folder(run) / "02_regions" / "manifest.json").is_file() or not file.is_file():
        stage = artifacts.load(run, "02_regions")
        return stage.params, stage.source("01_depth")
    values = params.read_file(RegionParams, file, {"run": run})
    return values, artifacts.load(values.upstream or run, "01_depth")


def read_variants(values: RegionParams, words: Sequence[str]) -> dict[str, RegionParams]:
    """From "units=scene,cut=0.1" to "depth, units=scene, cut=0.1" -> the parameters changed so.

    Raises:
        ParameterError: a parameter is unknown or impossible, or says where regions come from: they are depth's.
    """
    variants = {}
    for word in words:
        changes = parse_changes(word, RegionParams)
        if fixed := {"source", "count", "learned_from", "run", "upstream"} & set(changes):
            raise params.ParameterError(f"--vary {word}: {sorted(fixed)[0]} cannot be varied here")
        plain = params.as_dict(values) | {"source": "depth", "learned_from": "", "count": 0}
        plain["preset"] = "none"  # its constants are set
        variants[f"depth, {word.replace(',', ', ')}"] = params.make(RegionParams, plain | changes)
    return variants


def read_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m lib.run.regions", description="Regions from every source.")
    parser.add_argument("run", help="folder below outputs/ with a finished 01")
    parser.add_argument(
        "--sources", nargs="+", choices=REGION_SOURCES, metavar="SOURCE", help=", ".join(REGION_SOURCES)
    )
    parser.add_argument(
        "--frames", type=int, default=0, metavar="N", help="spread over the split; 0 = all labelled ones"
    )
    parser.add_argument("--split", default="val", choices=("train", "val", "test"))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="of Infomap")
    parser.add_argument("--learned-from", default="", metavar="RUN", help="whose 04 says what looks alike")
    parser.add_argument("--clusters", type=int, default=20, help="of that run's prototypes, for the source learned")
    parser.add_argument(
        "--vary", nargs="*", default=[], metavar="NAME=VALUE", help="depth regions of other parameters, a row each"
    )
    parser.add_argument("--processes", type=int, default=1, help="some frames each; times are fair with 1")
    parser.add_argument("--record", metavar="NAME", help="keep it as outputs/reference/NAME.json")
    return parser.parse_args(words)


def main(words: Sequence[str]) -> int:
    arguments = read_arguments(words)
    try:
        found = _measure(arguments)
    except (artifacts.ArtifactError, ValueError, OSError) as error:  # no such run, parameters, missing data
        print(error, file=sys.stderr)
        return 1
    print(describe(found))
    if arguments.record:
        artifacts.write_json(REFERENCE / f"{arguments.record}.json", found)
    return 0


def _choose_sources(arguments: argparse.Namespace) -> tuple[str, ...]:
    usual = [name for name in REGION_SOURCES if name != "learned" or arguments.learned_from]
    chosen = tuple(dict.fromkeys(arguments.sources or usual))
    if ("learned" in chosen) != bool(arguments.learned_from):
        raise ValueError("the source learned and --learned-from RUN, whose 04 says what looks alike, go together")
    return chosen


def _measure(arguments: argparse.Namespace) -> dict[str, Any]:
    sources = _choose_sources(arguments)
    values, depth = read_run(arguments.run)
    dataset = data.open_dataset(depth.params)
    frames = dataset.frames(arguments.split, labelled=True)
    if not frames or arguments.frames < 0:
        what = "no labelled frames" if not frames else f"no {arguments.frames} frames"
        raise ValueError(f"{dataset.name} has {what} in split {arguments.split!r}: there is nothing to score")
    if 0 < arguments.frames < len(frames):
        frames = [frames[i] for i in np.linspace(0, len(frames) - 1, arguments.frames).round().astype(int)]
    clusters = [None] * len(frames)
    if arguments.learned_from:
        from ..clusters import learn_clusters  # here: it loads torch, which the processes that group do without

        images = np.stack([dataset.image(frame) for frame in frames])
        training = artifacts.load(arguments.learned_from, "04_training")
        clusters = learn_clusters(training, arguments.clusters)(images)
    stage = artifacts.Stage("02_regions", values, artifacts.run_folder(arguments.run), [depth], strict=False)
    smallest = max(6, round(TAIL * dataset.size[0] * dataset.size[1]))  # pixels; see `fit_exponent`
    variants = read_variants(values, arguments.vary)
    cutter = FrameCutter(FrameGrouper(dataset, depth, stage), sources, tuple(arguments.seeds), smallest, variants)
    rows = parallel_map(cutter, list(zip(frames, clusters)), arguments.processes)
    rows = [row for some in tqdm(rows, total=len(frames), unit=" frames", disable=None) for row in some]
    protocol = {"frames": len(frames), "clips": len({dataset.block(f) for f in frames}), "split": arguments.split}
    protocol |= {"seeds": arguments.seeds, "size": list(dataset.size), "smallest_pixels": smallest}
    protocol |= {"interval": f"95 %, {SAMPLES} draws of clips", "count": "that of depth regions of the same frame"}
    protocol |= {"own_count": "truth, learned", "superpixels": values.superpixels, "depth": values.depth}
    if arguments.learned_from:
        protocol |= {"learned_from": arguments.learned_from, "clusters": arguments.clusters}
    return {
        "run": arguments.run,
        "protocol": protocol,
        "sources": collect(rows),
        "made_by": artifacts.describe_machine(),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
