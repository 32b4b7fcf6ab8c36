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
    return summarise(outcomes)


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


def test_tables_of_a_finished_run_are_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(artifacts.stages, "OUTPUTS", tmp_path)
    monkeypatch.setattr(reference, "REFERENCE", tmp_path / "reference")
    assert claims.main(["x"]) == 2
    assert "run x has no finished 06 or 09" in capsys.readouterr().err
    stage = artifacts.begin("09_ablations", params.AblationParams(run="x", expect=False))
    stage.save_json("tables.json", {"rows": make_ablations()})
    stage.save_image("effects.png", np.zeros((4, 4, 3), np.uint8))
    stage.finish({"miou": 0.5}, {"seeds": [0, 1, 2]})
    assert claims.main(["x"]) == 0
    (table,) = read_tables(tmp_path / "reference")
    assert (table["table"], table["run"], table["protocol"]) == ("ablations", "x", {"seeds": [0, 1, 2]})
    text = (tmp_path / "reference" / "claims.md").read_text()
    assert text == write_ledger([table])
    assert (tmp_path / "reference" / "ablations-x.png").is_file()
    (tmp_path / "reference" / "finetuning-y.json").write_text("{")
    assert claims.main([]) == 2
    assert "finetuning-y.json is damaged" in capsys.readouterr().err
    (tmp_path / "reference" / "finetuning-y.json").unlink()
    assert claims.main([]) == 0
    assert (tmp_path / "reference" / "claims.md").read_text() == text, "written anew from what is kept"


def test_the_ledger_of_the_project_is_what_its_tables_say():
    found = (reference.REFERENCE / "claims.md").read_text(encoding="utf-8")
    assert found == write_ledger(read_tables(reference.REFERENCE)), "write it anew: python -m lib.run.claims"
