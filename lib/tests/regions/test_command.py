"""The table of all sources: the run that it reads, its rows, its intervals, and what it refuses."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from lib import artifacts, params
from lib.data import Dataset, Frame
from lib.regions import FrameGrouper, group_regions, metrics
from lib.run import regions

from .fixtures import INTRINSICS, PARAMS, SIZE, draw_street

CLIPS = 4


class Streets(Dataset):
    """Two labelled frames of each of some clips; the generated streets of the tests, so that nothing is learned."""

    name, size = "streets", SIZE

    def __init__(self, split="val"):
        self._frames = [Frame(f"{c}/{i}", str(c), split, 0.0, INTRINSICS, True) for c in range(CLIPS) for i in range(2)]

    def _draw(self, frame):
        return draw_street(7 * int(frame.clip) + int(frame.id[-1]))

    def image(self, frame):
        return self._draw(frame)[0]

    def labels(self, frame):
        labels = self._draw(frame)[2].astype(np.uint8)
        labels[: 2 * int(frame.clip)] = 255
        return labels


def make_run(folder, name="streets", values=PARAMS):
    """A finished 01 whose depth is true, and a finished 02 with these parameters."""
    stage = artifacts.begin("01_depth", params.DepthParams(run=str(folder / name), dataset="camvid"))
    for frame in Streets().frames():
        stage.save_inverse_depth(f"inverse_depth/{frame.id}.png", draw_street()[1], 1.0)
    stage.finish({})
    depth = artifacts.load(str(folder / name), "01_depth")
    artifacts.begin("02_regions", replace(values, run=str(folder / name)), [depth]).finish({})
    return str(folder / name)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(regions.data, "open_dataset", lambda values: Streets())
    monkeypatch.setattr(regions, "REFERENCE", tmp_path / "reference")
    (tmp_path / "reference").mkdir()
    return make_run(tmp_path)


def test_one_table_of_all_sources(run, tmp_path, capsys):
    assert regions.main([run, "--record", "regions"]) == 0
    printed = capsys.readouterr().out
    rows = [line.split(" | ")[0].strip("| ") for line in printed.splitlines() if line.startswith("| ")]
    assert rows == ["source", "depth", "slic", "grid", "felzenszwalb", "contours", "truth"]
    assert "8 labelled frames of 4 clips, split val" in printed
    found = artifacts.read_json(tmp_path / "reference" / "regions.json")
    assert set(found) == {"run", "protocol", "sources", "made_by"}
    sources = found["sources"]
    assert sources["truth"]["purity"]["mean"] == sources["truth"]["purity"]["high"] == 1
    assert sources["depth"]["purity_minus_depth"] == {"mean": 0, "low": 0, "high": 0}
    same = sources["depth"]["regions_per_frame"]["mean"]
    assert sources["grid"]["regions_per_frame"]["mean"] == sources["contours"]["regions_per_frame"]["mean"] == same
    for numbers in sources.values():
        assert numbers["purity"]["low"] <= numbers["purity"]["mean"] <= numbers["purity"]["high"]
        assert set(numbers) == {*regions.SHOWN, "seconds_per_frame"}
    assert "made_by" in found
    assert found["protocol"]["smallest_pixels"] == round(0.01 * SIZE[0] * SIZE[1])


def test_means_are_those_of_the_regions_that_02_makes(run):
    found = regions._measure(regions.read_arguments([run, "--sources", "depth", "grid"]))["sources"]
    assert list(found) == ["depth", "grid"]
    dataset, scores, grids, sizes = Streets(), [], [], []
    for frame in dataset.frames():
        inverse = artifacts.read_inverse_depth(artifacts.load(run, "01_depth").path(f"inverse_depth/{frame.id}.png"), 1)
        ids = group_regions(dataset.image(frame), inverse, INTRINSICS, PARAMS)
        scores.append(metrics.score_regions(ids, dataset.labels(frame))["asa"])
        grids.append(metrics.purity(metrics.cut_grid(SIZE, int(ids.max())), dataset.labels(frame)))
        sizes.append(metrics.count_sizes(ids))
    assert found["depth"]["asa"]["mean"] == pytest.approx(np.mean(scores))
    assert found["grid"]["purity"]["mean"] == pytest.approx(np.mean(grids))
    tail = metrics.sum_tail(np.concatenate(sizes), 35)
    assert found["depth"]["size_exponent"]["mean"] == pytest.approx(metrics.fit_exponent(*tail))


def test_frames_and_seeds(run):
    found = regions._measure(regions.read_arguments([run, "--sources", "slic", "--frames", "3", "--seeds", "0", "1"]))
    assert found["protocol"]["frames"] == 3
    assert found["protocol"]["seeds"] == [0, 1]
    numbers = found["sources"]["slic"]["purity"]
    assert numbers["mean"] == pytest.approx(np.mean(numbers["by_seed"]))


def test_another_process_gives_the_same_rows(run):
    values, depth = regions.read_run(run)
    stage = artifacts.Stage("02_regions", values, artifacts.run_folder(run), [depth], strict=False)
    cutter = regions.FrameCutter(FrameGrouper(Streets(), depth, stage), ("depth", "contours"), (0,), 9)
    item = (Streets().frames()[2], None)
    here, there = cutter(item), pickle.loads(pickle.dumps(cutter))(item)
    assert [row.pop("seconds_per_frame") > 0 for row in here + there] == [True] * 4
    assert here == there
    assert artifacts.load(run, "02_regions").params == values  # looked at, not begun anew


def test_learned_keeps_its_number_and_is_merged_to_the_equal_one(run, monkeypatch):
    kinds = np.stack([draw_street()[2]] * 2 * CLIPS)
    monkeypatch.setattr(
        regions.artifacts, "load", lambda name, stage, load=artifacts.load: stage == "04_training" or load(name, stage)
    )
    monkeypatch.setattr("lib.clusters.learn_clusters", lambda training, clusters: lambda images: kinds)
    found = regions._measure(regions.read_arguments([run, "--sources", "depth", "learned", "--learned-from", "other"]))
    assert list(found["sources"]) == ["depth", "learned", regions.MERGED]
    own, merged, depth = (
        found["sources"][n]["regions_per_frame"]["mean"] for n in ("learned", regions.MERGED, "depth")
    )
    assert merged <= min(own, depth)
    assert found["protocol"]["learned_from"] == "other"


def test_parameters_of_a_file_do_where_02_is_not_finished(tmp_path, monkeypatch):
    run = make_run(tmp_path, "streets")
    (tmp_path / "streets" / "02_regions" / "manifest.json").unlink()
    with pytest.raises(artifacts.ArtifactError, match="02_regions"):
        regions.read_run(run)
    monkeypatch.setattr(regions, "ROOT", tmp_path)
    (tmp_path / "params" / "streets").mkdir(parents=True)
    (tmp_path / "params" / "streets" / "02_regions.yaml").write_text("superpixels: 99\n")
    values, depth = regions.read_run(run)
    assert (values.superpixels, depth.name) == (99, "01_depth")


# --- intervals


def test_the_interval_covers_as_often_as_it_says():
    rng, covered = np.random.default_rng(0), 0
    for _ in range(200):
        frames = rng.integers(1, 5, 30).astype(float)  # of each clip
        sums = frames * rng.normal(0.8, 0.05, 30)  # frames of a clip are alike
        low, high = regions.bootstrap_ratio(sums, frames)
        covered += low <= 0.8 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_an_interval_needs_two_clips_and_is_the_same_again():
    sums, frames = np.array([1.0, 3.0, 2.0]), np.array([2.0, 4.0, 2.0])
    assert regions.bootstrap_ratio(sums[:1], frames[:1]) is None
    assert regions.bootstrap_ratio(sums, frames) == regions.bootstrap_ratio(sums, frames)
    assert regions.bootstrap_ratio(sums, np.zeros(3)) is None


def test_clips_are_drawn_not_frames():
    rows = [{"source": "a", "seed": 0, "block": f"{i // 8}", "tail": 2, "logarithms": 1.0} for i in range(16)]
    rows = [row | dict.fromkeys((*regions.SHOWN, "seconds_per_frame"), float(i // 8)) for i, row in enumerate(rows)]
    found = regions.collect(rows)["a"]
    assert found["purity"] == {"mean": 0.5, "low": 0.0, "high": 1.0}  # two clips: either may be drawn twice
    assert found["size_exponent"] == {"mean": 3.0, "low": 3.0, "high": 3.0}


def test_no_region_above_the_bound_is_an_empty_cell():
    row = dict.fromkeys((*regions.SHOWN, "seconds_per_frame"), 0.5) | {"tail": 0, "logarithms": 0.0}
    rows = [row | {"source": "a", "seed": 0, "block": block} for block in "ab"]
    found = regions.collect(rows)
    assert found["a"]["size_exponent"] == {"mean": None, "low": None, "high": None}
    protocol = {"frames": 2, "clips": 2, "split": "val", "seeds": [0], "smallest_pixels": 9}
    assert "|  | 500 |" in regions.describe({"sources": found, "protocol": protocol})


# --- what is refused


def test_wrong_requests_are_one_sentence(run, capsys, monkeypatch):
    for words, message in (
        ([run, "--split", "train"], "no labelled frames in split 'train'"),
        ([run, "--frames", "-1"], "no -1 frames"),
        ([run, "--sources", "learned"], "--learned-from RUN"),
        ([run, "--sources", "depth", "--learned-from", run], "go together"),
        ([run, "--learned-from", run], "04_training"),
        ([run + "-none"], "does not exist"),
    ):
        assert regions.main(words) == 1
        error = capsys.readouterr().err
        assert message in error
        assert len(error.splitlines()) == 1
    with pytest.raises(SystemExit):
        regions.main([run, "--sources", "sick"])


def test_other_parameters_are_rows_beside_depth(run):
    words = [run, "--sources", "depth", "slic", "--vary", "units=scene,support_weight=2", "preset=released"]
    found = regions._measure(regions.read_arguments(words))["sources"]
    assert list(found) == ["depth", "slic", "depth, units=scene, support_weight=2", "depth, preset=released"]
    assert abs(found["slic"]["purity_minus_slic"]["mean"]) < 0.02, "SLIC gives about as many as it is asked for"
    counts = [numbers["regions_per_frame"]["mean"] for numbers in found.values()]
    assert counts[3] != counts[0], "other weights, other regions"
    values, _ = regions.read_run(run)
    assert regions.read_variants(values, ["cut=0.5"])["depth, cut=0.5"] == replace(values, cut=0.5)
    with pytest.raises(params.ParameterError, match="source cannot be varied here"):
        regions.read_variants(values, ["source=slic"])
