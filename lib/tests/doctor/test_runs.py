"""The runs: how far they are, what they need, how long they will take."""

import fcntl
import json
import shutil
from types import SimpleNamespace

import pytest
import torch

from lib import ROOT, artifacts, params
from lib.run import chain
from lib.run.doctor import __main__ as command
from lib.run.doctor import data, estimates, report, runs, speed
from lib.run.reference import REFERENCE

from ..data.fixtures import write_camvid


def finish(run, name):
    inputs = [artifacts.load(run, lower) for lower in params.SCHEMAS if lower < name][-1:]
    artifacts.begin(name, params.make(params.SCHEMAS[name], {"run": run}), inputs).finish({})


def test_how_far_a_run_is(tmp_path, monkeypatch, said):
    monkeypatch.setattr(runs, "PARAMS", tmp_path / "params")
    (tmp_path / "params" / "tiny").mkdir(parents=True)
    finish("tiny", "01_depth")
    finish("tiny", "02_regions")
    finish("tiny", "03_augmentation")
    (tmp_path / "outputs" / "tiny" / "03_augmentation" / "manifest.json").write_text("{")
    checkpoints = tmp_path / "outputs" / "tiny" / "04_training" / "checkpoints"
    checkpoints.mkdir(parents=True)
    for step in (200, 1000):
        (checkpoints / f"checkpoint_{step:06d}.pt").touch()
    (run,) = runs.show_runs(report.Report(), {}, "", {}, False)
    assert "state 01 02 up to date, 03 damaged, 04 unfinished (saved after step 1000), 05 not begun" in said()
    assert run.left == ["03_augmentation", "04_training", "05_evaluation"]
    assert run.seconds is not None
    monkeypatch.setattr(artifacts, "hash_code", lambda *words: "other code")
    with chain.only_run(tmp_path / "outputs" / "tiny"):
        runs.show_runs(report.Report(), {}, "", {}, False)
    assert "01 02 out of date" in (text := said())
    assert "a run is at work there now" in text
    monkeypatch.setattr(runs, "LARGEST_CHECK", -1)
    (run,) = runs.show_runs(report.Report(), {}, "", {}, False)
    assert "01 02 finished, too large to verify here" in said()
    assert "01_depth" not in run.left


def test_looking_does_not_hold_a_run(tmp_path):
    (tmp_path / ".lock").touch()
    assert not runs.is_locked(tmp_path)
    with open(tmp_path / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_data_of_a_run(tmp_path, said):
    found = {name: data.Found("absent", "") for name in params.DATASETS if name not in data.ELSEWHERE}
    depth = params.DepthParams(dataset="camvid", clips=("kitti_odometry:00", "street"), start_steps=1)
    assert runs.needed_data(depth) == ["camvid", "kitti_odometry:00", "street"]
    assert runs.missing_data(depth, found) == ["camvid is absent (part 3)", "kitti_odometry is absent (part 3)"]
    assert runs.missing_data(depth, {})[0] == "camvid is not known (part 3)"
    write_camvid(tmp_path)
    found["camvid"] = data.look("camvid", str(tmp_path))
    assert runs.missing_data(params.DepthParams(dataset="camvid", clips=("camvid:nine",)), found) == [
        "camvid has no clip nine"
    ]
    assert runs.count_frames(found, "camvid") == f"camvid ({len(found['camvid'].dataset.frames())} frames here)"
    video = params.DepthParams(dataset="video", path=str(tmp_path / "no.mp4"), maps=str(tmp_path / "no"))
    assert runs.missing_data(video, found) == [
        f"{tmp_path / 'no.mp4'} is not there",
        f"no folder {tmp_path / 'no'} of maps",
    ]


def test_what_a_run_is_about_and_its_command(tmp_path, monkeypatch, said):
    street = {"01_depth": params.DepthParams()}
    camvid = {"01_depth": params.DepthParams(dataset="camvid")}
    (tmp_path / "01_depth.yaml").touch()
    assert runs.plan_stages(tmp_path, street)[-1] == runs.LAST
    assert runs.plan_stages(tmp_path, camvid) == ["01_depth"]
    kitti = params.DepthParams(dataset="kitti_raw")
    command = "python -m lib.run params/x --to 01"
    assert runs.write_command("x", ["01_depth"], kitti, "/my data") == f"{command} --data-root '/my data'"
    assert runs.write_command("x", ["01_depth"], params.DepthParams(), "/my data") == command
    assert runs.write_command("street", list(params.SCHEMAS)[:5], params.DepthParams(), "") == "make run"
    (tmp_path / "01_depth.yaml").write_text("dataset: video\nclips: [video]\n")
    run = runs.show_run(report.Report(), tmp_path, {}, "", {}, False)
    assert run.command.endswith("--to 01 -p 01.path=YOURS")
    assert "data video: yours to name" in said()
    assert (
        runs.write_command("x", ["11_your_video"], params.DepthParams(), "") == "python -m lib.run params/x --only 11"
    )
    (tmp_path / "01_depth.yaml").write_text("stepz: 3\n")
    assert runs.show_run(report.Report(), tmp_path, {}, "", {}, False) is None
    assert "did you mean 'steps'" in said()


def test_needs_beyond_time(tmp_path, monkeypatch, said):
    write_camvid(tmp_path)
    found = {"camvid": data.look("camvid", str(tmp_path))}
    values = {name: schema() for name, schema in params.SCHEMAS.items()}
    values["01_depth"] = params.DepthParams(dataset="camvid", clips=("camvid",), prepare=True, workers=99)
    monkeypatch.setattr(runs, "count_cores", lambda: 3)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1e3))
    runs.show_needs(report.Report(), values, found)
    text = said()
    assert "GB of prepared frames in" in text
    assert "put DATA_CACHE on another disk" in text
    assert "more processes than cores: add -p 01.workers=3" in text


PROCESSOR = {"calibration_seconds": {"network": 0.25, "grouping": 0.125}}
STAGES = {
    "02_regions": {"seconds": 20.0, "metrics": {}, "protocol": {"frames": 10, "scored": 5}},
    "03_augmentation": {"seconds": 2.0, "metrics": {"images_per_second": {"value": 10.0}}, "protocol": {}},
    "04_training": {
        "seconds": 100.0,
        "metrics": {"train_seconds": {"value": 90.0}},
        "protocol": {"steps": 20, "images_per_step": 4},
    },
}


def test_times_scale_with_the_machine():
    assert estimates.scale_stage("02_regions", STAGES, estimates.Speed(5.0, 2.0)) == 40
    assert estimates.scale_stage("04_training", STAGES, estimates.Speed(2.0, 3.0)) == 90 * 2 + 10 * 3
    fast = estimates.Speed(0.01, 1.0)
    assert estimates.scale_stage("04_training", STAGES, fast) == 80 / 10 + 10, "composites are made by one core"


def test_rates_and_what_has_none():
    base = {name: schema() for name, schema in params.SCHEMAS.items()}
    double = base | {"04_training": params.TrainingParams(steps=2 * params.TrainingParams().steps)}
    deeper = base | {"04_training": params.TrainingParams(encoder="resnet50")}
    larger = base | {"01_depth": params.DepthParams(height=384, width=768)}

    def guess(name, values, dataset=None, recorded=None, here=None):
        record, street = estimates.Record(recorded or {}, PROCESSOR), estimates.Record(STAGES, PROCESSOR)
        return estimates.estimate_stage(name, values, record, [(street, base)], dataset, here or {})

    assert guess("04_training", double) == estimates.Estimate(200, by_rate="tiny")
    assert guess("04_training", double, recorded=STAGES) == estimates.Estimate(100)
    assert guess("04_training", deeper) is None, "another network"
    assert guess("04_training", larger) is None, "36 times as large"
    assert guess("02_regions", base) is None, "no data to count"
    assert guess("05_evaluation", base) is None, "not recorded"
    frames = SimpleNamespace(frames=lambda split="", labelled=False: [0] * 30)
    assert guess("02_regions", base, frames) == estimates.Estimate(60, by_rate="tiny")
    slow = {"network": 0.5, "grouping": 0.375}  # twice and three times the seconds of the records
    assert guess("02_regions", base, frames, here=slow) == estimates.Estimate(180, by_rate="tiny")
    assert guess("04_training", base, recorded=STAGES, here=slow) == estimates.Estimate(90 * 2 + 10 * 3)


def test_a_rate_is_that_of_the_first_run_with_the_same_network():
    light, small = ({"01_depth": params.DepthParams(run=e, encoder=e)} for e in ("light", "small"))
    first, second = (estimates.Record({"01_depth": {"seconds": seconds}}) for seconds in (10.0, 20.0))
    values = {name: schema() for name, schema in params.SCHEMAS.items()}
    light, small = (values | run for run in (light, small))
    others = [(first, light), (second, small)]
    guess = estimates.estimate_stage("01_depth", values, estimates.Record(), others, None, {})
    assert guess == estimates.Estimate(20, by_rate="small")
    assert estimates.estimate_stage("01_depth", values, estimates.Record(), others[:1], None, {}) is None


def test_the_rates_of_the_street_run_give_the_recorded_times_of_camvid():
    street, camvid = (estimates.read_record(REFERENCE / f"{name}.json") for name in ("street", "camvid"))
    here = camvid.machine["calibration_seconds"]
    base, values = (chain.read_run(ROOT / "params" / name, {}, name, "") for name in ("street", "camvid"))
    protocol = camvid.stages["02_regions"]["protocol"]
    count = {False: protocol["frames"], True: protocol["scored"]}
    dataset = SimpleNamespace(frames=lambda split="", labelled=False: [0] * count[labelled])
    for name, stage in camvid.stages.items():
        guess = estimates.estimate_stage(name, values, estimates.Record(), [(street, base)], dataset, here)
        if estimates.is_alike(name, values, base):
            # a stage of a few seconds repeats no better than this: the same 03 took 2.9, 4.3 and 5.4 s in a row
            assert guess.seconds == pytest.approx(stage["seconds"], rel=0.3, abs=2.5), name
        else:
            assert (name, guess) == ("01_depth", None), "another network: no rate holds for it"


def test_no_reference_is_no_time(tmp_path, monkeypatch, said):
    assert estimates.read_record(tmp_path / "none.json") == estimates.Record()
    (tmp_path / "bad.json").write_text("[]")
    assert estimates.read_record(tmp_path / "bad.json") == estimates.Record()
    monkeypatch.setattr(runs, "REFERENCE", tmp_path)
    assert command.main(["--quick"]) == 0
    assert "can be made here (how long is not measured)" in said()


def test_speed_beside_the_reference(tmp_path, monkeypatch, said):
    monkeypatch.setattr(estimates, "REFERENCE", tmp_path)
    monkeypatch.setattr(speed, "calibrate", lambda device: {"network": 0.375, "grouping": 0.0625})
    monkeypatch.setattr(speed, "describe_load", lambda: "")
    cpu, found = SimpleNamespace(type="cpu"), report.Report()
    assert command.show_speed(found, False, cpu) == {"network": 0.375, "grouping": 0.0625}
    assert "no record of the street run to compare with" in said()
    machine = PROCESSOR | {"cores": 2, "processor": "a processor", "device": "cpu"}
    (tmp_path / "street.json").write_text(json.dumps({"stages": STAGES, "machine": machine}))
    monkeypatch.setattr(speed, "describe_load", lambda: "other work keeps 2 of 2 cores busy")
    command.show_speed(found, False, cpu)
    text = said()
    assert "here 1.50 times the reference's seconds for the network, 0.50 for the grouping" in text
    assert "Times are estimates" in text
    assert "other work keeps" in text
    assert command.show_speed(found, True, cpu) == {}

    def fail(device):
        raise RuntimeError("no kernel image is available")

    monkeypatch.setattr(speed, "calibrate", fail)
    assert command.show_speed(found, False, SimpleNamespace(type="cuda")) == {}
    assert "cuda does not compute (no kernel image is available)" in found.problems[0]


def test_the_calibration_measures(monkeypatch):
    monkeypatch.setattr(speed, "LONGEST", 0.0)
    monkeypatch.setattr(speed, "BATCH", 1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several take very long beside other work
    found = speed.calibrate(speed.pick_device("cpu"))
    torch.set_num_threads(threads)
    assert set(found) == {"network", "grouping"}
    assert min(found.values()) > 0


def test_the_street_run_is_up_to_date(monkeypatch, said):
    ready = runs.Run("camvid", "python -m lib.run params/camvid", True, ["01_depth"], 300.0)
    assert command.conclude(report.Report(), [runs.Run("street", "make run", True), ready]) == 0
    text = said()
    assert "up to date in outputs/street" in text
    assert "your data python -m lib.run params/camvid (about 5.0 min)" in text
    unknown = runs.Run("a", "a", True, ["01_depth"])
    assert command.conclude(report.Report(), [runs.Run("street", "make run", True), unknown, unknown]) == 0
    assert "(how long is not measured)" in said()
    assert command.conclude(report.Report(), []) == 1
