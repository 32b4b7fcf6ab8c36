"""The papers' runs, cut to seconds: only sizes and counts are overridden, everything else is as params/ says."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lib import ROOT, artifacts
from lib.figures.video import VideoFile

from .data import fixtures, layouts

COUNTS = {
    "01_depth": {
        "height": 64,
        "width": 64,
        "steps": 2,
        "batch": 2,
        "workers": 1,
        "train_clips": 2,
        "frames_per_clip": 3,
    },
    "02_regions": {"superpixels": 120, "workers": 1},
    "03_augmentation": {"samples": 1, "images": 4},  # without real data, KITTI has five frames to learn from
    "04_training": {"steps": 2, "pixel_points": 100, "region_points": 200, "workers": 0},
    "05_evaluation": {"pictures": 2},
}
LABELLED = {  # 06, of the runs that have it
    "cells": 60, "over_clusters": "[4]", "cluster_seeds": 1, "probe_steps": 2, "workers": 0,
    "fractions": "[1.0]", "fraction_steps": "[2]", "steps": 2, "batch": 2, "warmup_steps": 0, "instance_steps": 2,
}  # fmt: skip


def link(folder: Path, files: list[Path]) -> None:
    folder.mkdir(parents=True)
    for file in files:
        (folder / file.name).symlink_to(file)


def arrange_cityscapes(root: Path) -> None:
    """The sample's eight annotated images, five for train and three for val, and its video; else the fixture."""
    sample = fixtures.find_real_data("cityscapes")
    if sample is None:
        layouts.write_cityscapes(root)
        return
    for kind in ("leftImg8bit", "gtFine"):
        files = sorted((sample / kind / "train" / "aachen").iterdir())
        held = {f"aachen_{n:06d}" for n in (5, 6, 7)}
        for split in ("train", "val"):
            chosen = [f for f in files if ("_".join(f.name.split("_")[:2]) in held) == (split == "val")]
            link(root / "cityscapes" / kind / split / "aachen", chosen)
    video = sorted((sample / "leftImg8bit_sequence" / "train" / "aachen").iterdir())
    link(root / "cityscapes" / "leftImg8bit_sequence" / "train" / "aachen", video)


def arrange_kitti(root: Path) -> None:
    """The sample's raw drive, else the fixture; the labelled images are always the fixture's: no sample has them."""
    sample = fixtures.find_real_data("kitti_raw")
    if sample is None:
        fixtures.write_kitti_raw(root)
    else:
        (root / "kitti_raw").symlink_to(sample)
    layouts.write_kitti_2015(root)


ARRANGE = {"cityscapes": arrange_cityscapes, "kitti": arrange_kitti, "coco": layouts.write_coco_stuff}


def film(path: Path) -> None:
    """Fourteen frames of a generated street as a video file."""
    with VideoFile(path, 10, fixtures.SIZE, codecs=("mp4v",)) as video:
        for image in fixtures.clip(14).images:
            video.write(image)


def look_at_video(folder: Path) -> subprocess.CompletedProcess:
    """What `make video` does, with a name that YAML would misread."""
    film(folder / "my drive #1.mp4")
    counts = {**COUNTS, "01_depth": {**COUNTS["01_depth"], "start_steps": 2, "video_step": 1, "crop_bottom": 0.1}}
    counts.pop("05_evaluation")
    changes = [f"{name}.{key}={value}" for name, values in counts.items() for key, value in values.items()]
    words = [w for change in changes for w in ("-p", change)]
    command = [sys.executable, "-m", "lib.run.video", "my drive #1.mp4", "--anyway", *words]
    surroundings = {**os.environ, "RUNS_ROOT": str(folder), "DATA_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=surroundings, capture_output=True, text=True, timeout=900)


def counts_of(run: str) -> dict:
    """What is overridden in each notebook that the run has parameters of."""
    finetunes = (ROOT / "params" / run / "06_finetuning.yaml").is_file()
    folds = {"folds": "[0, 1]"} if run == "kitti" else {}
    return COUNTS | ({"06_finetuning": LABELLED | folds} if finetunes else {})


def execute(run: str, folder: Path) -> subprocess.CompletedProcess:
    """The command of the README, with every size and count overridden, on one core."""
    root = folder / "data" / run
    root.mkdir(parents=True)
    ARRANGE[run](root)
    changes = [f"{name}.{key}={value}" for name, counts in counts_of(run).items() for key, value in counts.items()]
    last = max(counts_of(run))[:2]
    words = [
        "--to",
        last,
        "--data-root",
        str(root),
        "--out",
        str(folder / run),
        *(w for change in changes for w in ("-p", change)),
    ]
    surroundings = {**os.environ, "DATA_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "lib.run", f"params/{run}", *words]
    return subprocess.run(command, cwd=ROOT, env=surroundings, capture_output=True, text=True, timeout=900)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    with ThreadPoolExecutor(2) as pool:  # most of the time goes into starting kernels
        video = pool.submit(look_at_video, folder)
        runs = dict(zip(ARRANGE, pool.map(execute, ARRANGE, [folder] * len(ARRANGE))))
        return folder, runs | {"video": video.result()}


@pytest.mark.parametrize("run", ARRANGE)
def test_the_papers_run_goes_through(run, finished):
    folder, runs = finished
    assert runs[run].returncode == 0, runs[run].stdout[-3000:] + runs[run].stderr[-3000:]
    for name in counts_of(run):
        assert artifacts.load(str(folder / run), name).metrics["protocol"]
    scores = artifacts.load(str(folder / run), "05_evaluation").metrics
    assert 0 <= scores["miou"] <= 1
    if run != "coco":
        metrics = artifacts.load(str(folder / run), "06_finetuning").metrics
        assert 0 <= metrics["miou_own_1"] <= 1
        assert 0 <= metrics["ap_own"] <= metrics["ap50_own"] <= 1
    assert list((folder / "cache" / "prepared").glob("*/*.json")), "frames were prepared once"


def test_a_video_is_learned_from_and_looked_at(finished, monkeypatch):
    folder, runs = finished
    monkeypatch.setattr(artifacts.stages, "OUTPUTS", folder)
    assert runs["video"].returncode == 0, runs["video"].stdout[-3000:] + runs["video"].stderr[-3000:]
    assert "LOOK length" in runs["video"].stdout
    found = artifacts.load("video-my_drive_1", "11_your_video")
    files = found.manifest["files"]
    assert {"overlay.mp4", "depth.mp4"} <= set(files)
    for kind in ("labels", "regions", "inverse_depth"):
        assert sum(name.startswith(f"{kind}/") for name in files) == found.metrics["frames"] == 14
    assert found.metrics["protocol"]["classes"] == "groups without names"
    assert found.manifest["sources"] == {}, "its video is the one that 01 names"
    assert found.source("01_depth").manifest["sources"]["path"]
