"""The papers' runs, cut to seconds: only sizes and counts are overridden, everything else is as params/ says."""

from pathlib import Path

import pytest

from lib import ROOT, artifacts, params
from lib.run import chain

from .data import fixtures, layouts

COUNTS = {
    "01_depth": {"height": 64, "width": 64, "steps": 2, "batch": 2, "workers": 1, "train_clips": 2, "frames_per_clip": 3},
    "02_regions": {"superpixels": 120, "workers": 1},
    "03_augmentation": {"samples": 1},
    "04_training": {"steps": 2, "pixel_points": 100, "region_points": 200, "workers": 0},
    "05_evaluation": {"pictures": 2},
}


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


@pytest.mark.parametrize("run", ARRANGE)
def test_the_papers_run_goes_through(run, tmp_path, monkeypatch):
    root, out = tmp_path / "data", tmp_path / run
    root.mkdir()
    ARRANGE[run](root)
    monkeypatch.setenv("DATA_CACHE", str(tmp_path / "cache"))  # kernels inherit it
    values = chain.read_run(ROOT / "params" / run, COUNTS, str(out), str(root))
    with chain.only_run(out):
        assert chain.run_chain(values, "01_depth", "05_evaluation") == 0
    for name in list(params.SCHEMAS)[:5]:
        assert artifacts.load(str(out), name).metrics["protocol"]
    scores = artifacts.load(str(out), "05_evaluation").metrics
    assert 0 <= scores["miou"] <= 1
