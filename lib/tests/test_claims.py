"""The ledger of claims: differences are found, turned the right way round, and the ledger is what the tables say."""

import numpy as np
import pytest

from lib import artifacts, params
from lib.ablations import SCORES, Setting, summarise
from lib.evaluation import compare_paired, estimate, rows_to_json
from lib.run import claims, reference
from lib.run.claims import CLAIMS, find_differences, read_tables, write_ledger

BASE = Setting(8, 0.5, "depth")
OTHERS = [Setting(0, 0.5, "depth"), Setting(8, 1.0, "depth"), Setting(8, 0.5, "truth")]
FLOOR = Setting(8, 0.5, "depth", trained=False)


def make_confusions(rng, hits, seeds=3):
    hit = rng.integers(hits - 4, hits + 4, (seeds, 6, 2))
    rows = np.stack([hit, 100 - hit, 0 * hit], axis=-1)
    rows[:, :, 1] = rows[:, :, 1][..., [1, 0, 2]]
    return rows


def make_ablations():
    """M = 0 is worse than the base, true regions are better, and pixels alone are neither."""
    rng, outcomes = np.random.default_rng(0), {}
    for setting, hits in zip([BASE, *OTHERS, FLOOR], (70, 50, 70, 85, 40)):
        for seed, confusion in enumerate(make_confusions(rng, hits)):
            outcomes[setting, seed, "x"] = dict.fromkeys(SCORES, confusion)
    return summarise(outcomes, {"x": np.arange(6)})


def make_trainings():
    rng = np.random.default_rng(1)
    random, own = make_confusions(rng, 60), make_confusions(rng, 80)
    rows = [
        {"start": "random", "fraction": 1.0, "miou": estimate(random), "minus_first": None},
        {"start": "own", "fraction": 1.0, "miou": estimate(own), "minus_first": compare_paired(own, random)},
    ]
    return rows_to_json(rows)


ABOUT = {"git_commit": "0" * 40, "git_dirty": False, "device": "x", "versions": {"torch": "2"}, "protocol": {"a": 1}}


def make_tables(run="x"):
    finetuning = {"trainings": make_trainings(), "instances": [], "probes": []}
    tables = {"ablations": {"rows": make_ablations()}, "finetuning": finetuning}
    return [{"table": table, "run": run, **ABOUT, **rows} for table, rows in tables.items()]


def looks_of(number):
    return next(claim.looks for claim in CLAIMS if claim.number == number)


def test_differences_point_the_way_of_the_claim():
    tables = make_tables()
    ((run, with_paste),) = find_differences(looks_of(1)[0], tables)
    assert run == "x"
    assert with_paste["value"] == pytest.approx(-tables[0]["rows"][1]["minus_base"]["clusters"]["value"])
    assert with_paste["low"] < with_paste["value"] < with_paste["high"]
    assert with_paste["low"] > 0
    assert with_paste["verdict"] == "shown"
    ((_, truth),) = find_differences(looks_of(3)[0], tables)
    assert truth["verdict"] == "shown"
    assert truth["value"] == tables[0]["rows"][3]["minus_base"]["clusters"]["value"]
    assert not list(find_differences(looks_of(3)[2], tables)), "no contours in this table"
    for look in (looks_of(5)[0], looks_of(5)[4]):
        ((_, own),) = find_differences(look, tables)
        assert own["verdict"] == "shown"
        assert own["value"] > 0


def test_the_ledger_has_every_claim_and_its_verdict():
    text = write_ledger(make_tables())
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    assert [int(line[2:].split(".")[0]) for line in rows if not line.startswith("| | |")] == list(range(1, 13))
    assert len({line.count("|") for line in rows}) == 1, "a row has more cells than another"
    assert "**none shown, as claimed**" in text
    assert sum("not run" in line for line in rows) == 9, "claims 4 and 6 to 12, and half of claim 5"
    assert "commit 0000000" in text
    assert all("not run" in line for line in write_ledger([]).splitlines() if line.startswith("| 1."))


def _finish(values, tables):
    """A finished stage of a run: 01, or one of those above it that has tables."""
    name = {params.DepthParams: "01_depth", params.AblationParams: "09_ablations"}.get(type(values), "06_finetuning")
    below = [] if name == "01_depth" else [artifacts.load(values.run, "01_depth")]
    stage = artifacts.begin(name, values, inputs=below)
    if tables:
        stage.save_json("tables.json", tables)
        stage.save_image("instances.png", np.zeros((4, 4, 3), np.uint8))
    stage.finish({"miou": 0.5}, {"seeds": [0, 1, 2]})


def test_a_difference_that_does_not_stand_beside_all_others_says_so(tmp_path):
    ablations, finetuning = make_tables()
    weak = ablations["rows"][2]["minus_base"]["clusters"]
    weak |= {"value": -0.1, "error": 0.0475, "freedom": 20.0, "low": -0.199, "high": -0.001, "verdict": "reversed"}
    for table in (ablations, finetuning):
        artifacts.write_json(tmp_path / f"{table['table']}-x.json", table)
    text = write_ledger(read_tables(tmp_path))
    (line,) = (line for line in text.splitlines() if "both minus pixels alone" in line and "clusters" in line)
    assert line.endswith("**shown**, not beside all others |")
    (line,) = (line for line in text.splitlines() if "M = 8 minus M = 0" in line and "clusters" in line)
    assert line.endswith("**shown** |")


def test_tables_of_a_finished_run_are_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(artifacts.stages, "OUTPUTS", tmp_path)
    monkeypatch.setattr(reference, "REFERENCE", tmp_path / "reference")
    assert claims.main(["x"]) == 2
    assert "run x has no finished 06 or 09" in capsys.readouterr().err
    for dataset in ("images", "street"):
        _finish(params.DepthParams(run="x", dataset=dataset, path="somewhere"), {})
        _finish(params.AblationParams(run="x", expect=False), {"rows": make_ablations()})
        names = {"miou": "ap", "minus_first": "ap_minus_first"}
        instances = [{names.get(k, k): v for k, v in row.items()} for row in make_trainings()]
        instances = [row | {k.replace("ap", "ap50"): v for k, v in row.items() if "ap" in k} for row in instances]
        trainings = [dict(row, labelled=12) for row in make_trainings()]
        _finish(params.FinetuningParams(run="x", expect=False), {"trainings": trainings, "instances": instances})
        assert claims.main(["x"]) == 0
        pictures = sorted(path.name for path in (tmp_path / "reference").glob("*.png"))
        scenes = ["finetuning-x-instances.png"] if dataset == "street" else []
        assert pictures == ["ablations-x.png", *scenes, "finetuning-x.png"], "photographs are not kept"
    tuned, table = read_tables(tmp_path / "reference")
    assert (table["table"], table["run"], table["protocol"]) == ("ablations", "x", {"seeds": [0, 1, 2]})
    text = (tmp_path / "reference" / "claims.md").read_text()
    assert text == write_ledger([tuned, table])
    (tmp_path / "reference" / "finetuning-y.json").write_text("{")
    assert claims.main([]) == 2
    assert "finetuning-y.json is damaged" in capsys.readouterr().err
    (tmp_path / "reference" / "finetuning-y.json").unlink()
    assert claims.main([]) == 0
    assert (tmp_path / "reference" / "claims.md").read_text() == text, "written anew from what is kept"


def test_the_ledger_of_the_project_is_what_its_tables_say():
    found = (reference.REFERENCE / "claims.md").read_text(encoding="utf-8")
    assert found == write_ledger(read_tables(reference.REFERENCE)), "write it anew: python -m lib.run.claims"
