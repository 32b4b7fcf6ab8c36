"""The ledger of the papers' claims: what each says, what our runs showed; written from tables, never by hand.

    python -m lib.run.claims street     keeps the tables of this run's finished 06 and 09, then writes the ledger
    python -m lib.run.claims            writes it anew from the tables that are kept

Tables are outputs/reference/ablations-RUN.json and finetuning-RUN.json, the ledger is claims.md there. The claims are
those of CPCDR, ViCE, PixDepth and SemiSeg-Contrastive; the papers' numbers are of facts/cpcdr.md sec. 12.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from .. import artifacts
from ..ablations import CLAIMED
from ..evaluation import Estimate, correct_for_many, rows_from_json
from ..figures.ablations import draw_effects
from ..figures.finetuning import draw_record
from . import reference

STAGES = {"finetuning": "06_finetuning", "ablations": "09_ablations"}
SCENES = ("predictions.png", "instances.png")  # of a finished 06, kept too where every image is generated


@dataclass(frozen=True)
class Look:
    """One comparison behind a claim: rows of a table with these values, and the difference that is kept in them.

    table: of `STAGES`; part: the list of rows in it. values: of a row, all must agree.
    keys: where the row has the difference; sign: -1 where the table has it the other way round.
    paper: the same difference in the paper, in points; "" = it has none. none: the claim is that there is none.
    """

    text: str
    table: str
    part: str
    values: Mapping[str, Any]
    keys: tuple[str, ...]
    sign: int = 1
    paper: str = ""
    none: bool = False


@dataclass(frozen=True)
class Claim:
    """What a paper says, where, and the comparisons of ours that bear on it; missing: why there is none, or no more."""

    number: int
    text: str
    source: str
    looks: tuple[Look, ...] = field(default=())
    missing: str = ""


def _vary(text: str, varied: Mapping[str, Any], score: str, paper: str, sign: int = -1, none: bool = False) -> Look:
    keys = ("minus_base", score)
    return Look(text, "ablations", "rows", {"varied": varied}, keys, sign, paper, none)


def _train(text: str, fraction: float | None, paper: str = "") -> Look:
    values = {"start": "own"} | ({} if fraction is None else {"fraction": fraction})
    return Look(text, "finetuning", "trainings", values, ("minus_first",), paper=paper)


def _count(text: str, key: str, paper: str) -> Look:
    return Look(text, "finetuning", "instances", {"start": "own"}, (key,), paper=paper)


CLUSTERS, TUNED = "clusters, one to one", "trained on with 1/16 of the labels"
CLAIMS = (
    Claim(1, "Copy-paste of M = 8 images beats none", "CPCDR table 4", (
        _vary(f"{CLUSTERS}: M = 8 minus M = 0", {"images": 0}, "clusters", "+16.7"),
        _vary(f"{TUNED}: M = 8 minus M = 0", {"images": 0}, "finetuned", "+14.5"),
        _vary(f"{CLUSTERS}: M = 8 minus M = 2", {"images": 2}, "clusters", "+6.7"),
        _vary(f"{TUNED}: M = 8 minus M = 2", {"images": 2}, "finetuned", "+3.0"),
        _vary(f"{CLUSTERS}: M = 8 minus M = 4", {"images": 4}, "clusters", "+0.4"),
        _vary(f"{TUNED}: M = 8 minus M = 4", {"images": 4}, "finetuned", "+0.6"),
    )),
    Claim(2, "Both losses beat that of pixels alone for clusters, not for training on", "CPCDR tables 3 and 4", (
        _vary(f"{CLUSTERS}: both minus pixels alone", {"pixel_weight": 1.0}, "clusters", "+6.8"),
        _vary(f"{TUNED}: both minus pixels alone", {"pixel_weight": 1.0}, "finetuned", "+0.3", none=True),
        _vary(f"{CLUSTERS}: both minus regions alone", {"pixel_weight": 0.0}, "clusters", "+4.8"),
        _vary(f"{TUNED}: both minus regions alone", {"pixel_weight": 0.0}, "finetuned", "+2.0"),
    )),
    Claim(3, "True regions beat depth regions, which beat those of contours", "CPCDR table 3", (
        _vary(f"{CLUSTERS}: truth (more pieces) minus depth", {"regions": "truth"}, "clusters", "+6.6", sign=1),
        _vary(f"{TUNED}: truth (more pieces) minus depth", {"regions": "truth"}, "finetuned", "+3.4", sign=1),
        _vary(f"{CLUSTERS}: depth minus contours", {"regions": "contours"}, "clusters", "+5.0"),
        _vary(f"{TUNED}: depth minus contours", {"regions": "contours"}, "finetuned", "+1.9"),
        _vary(f"{CLUSTERS}: depth minus SLIC", {"regions": "slic"}, "clusters", ""),
        _vary(f"{TUNED}: depth minus SLIC", {"regions": "slic"}, "finetuned", ""),
        _vary(f"{CLUSTERS}: depth minus a grid", {"regions": "grid"}, "clusters", ""),
        _vary(f"{TUNED}: depth minus a grid", {"regions": "grid"}, "finetuned", ""),
    )),
    Claim(4, "CPCDR beats PiCIE from scratch and pre-trained, and PiCIE fails from scratch", "CPCDR table 1",
          missing="PiCIE is not among the methods of this project yet"),
    Claim(5, "CPCDR trained on the same data set is a better start than none; SwAV and PixPro so trained are not",
          "CPCDR table 2", (
              _train("all labels: own minus random weights", 1.0, "+7.9"),
              _train("1/4 of the labels: own minus random weights", 0.25),
              _train("1/8 of the labels: own minus random weights", 0.125),
              _train("1/16 of the labels: own minus random weights", 0.0625),
              _vary("1/16 of the labels, in the runs of claims 1 to 3: own minus random weights", {"trained": False},
                    "finetuned", ""),
              _count("Mask R-CNN, AP: own minus random weights", "ap_minus_first", "+4.8"),
              _count("Mask R-CNN, AP50: own minus random weights", "ap50_minus_first", "+4.9"),
          ), "SwAV and PixPro trained on the same data set are not there yet: that half is open"),
    Claim(6, "Superpixels beat a grid and no decomposition", "ViCE table 3", missing="ViCE is not trained here yet"),
    Claim(7, "Contextual masking helps", "ViCE table 3", missing="ViCE is not trained here yet"),
    Claim(8, "Broader training data beats data of the same domain", "ViCE table 4",
          missing="ViCE is not trained here yet"),
    Claim(9, "The depth filter beats PixPro", "PixDepth tables 2 to 4", missing="PixDepth is not trained here yet"),
    Claim(10, "Three thresholds match the best single one", "PixDepth table 5",
          missing="PixDepth is not trained here yet"),
    Claim(11, "SemiSeg-Contrastive beats training with labels alone, the more the fewer there are",
          "SemiSeg-Contrastive table 2", missing="SemiSeg-Contrastive is not trained here yet"),
    Claim(12, "The memory contrast adds to pseudo-labels and entropy", "SemiSeg-Contrastive table 5",
          missing="SemiSeg-Contrastive is not trained here yet"),
)  # fmt: skip

HEAD = """# Ledger of claims

What four papers claim, and what the runs of this project showed of it. Differences of mIoU, AP or AP50 in points,
paired by seed and clip, with their 95 % interval over other seeds and other clips (`lib/evaluation/intervals.py`).
*From* is the smallest difference that such a comparison would have shown four times in five. *Shown*: the interval
lies above 0; *reversed*: below; *not shown*: it holds 0, which is not the same as no difference. Where the claim
itself is that there is none, *a difference* stands for an interval beside 0. Who looks at many differences finds some
that are nothing: *not beside all others* stands where a difference does not hold when all of its table are looked at
together (Holm's correction, 5 % for even one of them; greedy scores apart). The papers trained on Cityscapes with a
ResNet-50, at 25 to 100 epochs; how little ours saw is said below the table.

Written by `python -m lib.run.claims` from the tables beside this file; a test keeps both equal.

| claim | source | looked at | paper | data | difference | from | verdict |
|---|---|---|---|---|---|---|---|
"""


def keep_tables(run: str, folder: Path) -> list[Path]:
    """Copy the tables of a run's finished 06 and 09, each with protocol, provenance and a picture drawn from it.

    Of generated streets scenes are kept too, of photographs never.

    Returns:
        The tables that were written.

    Raises:
        ArtifactError: neither is finished, or one is out of date.
    """
    kept = []
    for table, stage in STAGES.items():
        if not (artifacts.run_folder(run) / stage / "manifest.json").is_file():
            continue
        found = artifacts.load(run, stage)
        about = {name: found.manifest[name] for name in ("git_commit", "git_dirty", "device", "versions")}
        rows = artifacts.read_json(found.path("tables.json"))
        kept.append(folder / f"{table}-{run}.json")
        artifacts.write_json(kept[-1], {"run": run, **about, "protocol": found.metrics["protocol"], **rows})
        figure = draw_table(table, rows)
        with artifacts.write_aside(kept[-1].with_suffix(".png")) as aside:
            figure.savefig(aside, dpi=figure.dpi, format="png", metadata={"Software": None})
        for scene in SCENES if table == "finetuning" and _is_generated(found) else ():
            if scene in found.manifest["files"]:
                reference.keep_picture(found.path(scene), f"{table}-{run}-{scene}")
    if not kept:
        raise artifacts.ArtifactError(
            f"run {run} has no finished 06 or 09: python -m lib.run params/{run} --only 06, and --only 09"
        )
    return kept


def _is_generated(found: artifacts.Artifact) -> bool:
    other = found.params.learn_data or found.params.score_data  # of another data set, perhaps
    return not other and found.source("01_depth").params.dataset == "street"


def draw_table(table: str, rows: Mapping[str, Any]) -> Figure:
    """The picture of a table of `STAGES`, from its rows as they are kept."""
    if table == "ablations":
        return draw_effects(rows["rows"])
    return draw_record(rows_from_json(rows["trainings"]), rows_from_json(rows["instances"]))


def read_tables(folder: Path) -> list[dict[str, Any]]:
    """All tables that are kept, each with its kind in `table`; street's first.

    A difference has in `corrected` its verdict beside all others of the table.
    """
    found = []
    for table in STAGES:
        paths = sorted(folder.glob(f"{table}-*.json"), key=lambda p: (not p.stem.endswith("-street"), p.stem))
        found += [{"table": table, **artifacts.read_json(path)} for path in paths]
    for table in found:
        family = list(_find_family(table))
        verdicts = correct_for_many([Estimate.from_json(difference) for difference in family])
        for difference, verdict in zip(family, verdicts):
            difference["corrected"] = verdict
    return found


def _find_family(table: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The differences of a table that are looked at together."""
    for row in table.get("rows", ()):
        yield from (found for score, found in (row["minus_base"] or {}).items() if score in CLAIMED)
    for row in (*table.get("trainings", ()), *table.get("instances", ())):
        yield from (found for name, found in row.items() if "minus" in name and found)


def find_differences(look: Look, tables: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(run, difference) of each table that has what is looked for; turned round where `look` says so."""
    for table in tables:
        for row in table.get(look.part, ()) if table["table"] == look.table else ():
            if not all(row[name] == value for name, value in look.values.items()):
                continue
            found = row
            for key in look.keys:
                found = found and found[key]
            if found:
                yield table["run"], _turn(found) if look.sign < 0 else found


def _turn(found: Mapping[str, Any]) -> dict[str, Any]:
    turned = {"shown": "reversed", "reversed": "shown"}
    low, high = (None if found[k] is None else -found[k] for k in ("high", "low"))
    verdicts = {k: turned.get(found[k], found[k]) for k in ("verdict", "corrected") if k in found}
    return {**found, "value": -found["value"], "low": low, "high": high, **verdicts}


def _tell(look: Look, found: Mapping[str, Any]) -> str:
    interval = "" if found["low"] is None else f" [{100 * found['low']:+.1f}, {100 * found['high']:+.1f}]"
    smallest = "" if found["smallest"] is None else f"{100 * found['smallest']:.1f}"
    verdict = found["verdict"]
    if look.none:
        words = {"not shown": "none shown, as claimed", "shown": "a difference", "reversed": "a difference"}
        verdict = words.get(verdict, verdict)
    alone = ", not beside all others" if found.get("corrected", found["verdict"]) != found["verdict"] else ""
    return f"{100 * found['value']:+.1f}{interval} | {smallest} | **{verdict}**{alone}"


def write_ledger(tables: Sequence[Mapping[str, Any]]) -> str:
    """The ledger as Markdown. tables: as `read_tables`."""
    lines = []
    for claim in CLAIMS:
        begin, rows = f"| {claim.number}. {claim.text} | {claim.source} |", []
        for look in claim.looks:
            for run, found in find_differences(look, tables):
                rows.append(f"{begin} {look.text} | {look.paper} | {run} | {_tell(look, found)} |")
                begin = "| | |"
        lines += rows
        if claim.missing or not rows:
            lines.append(f"{begin} | | | | | not run: {claim.missing or 'no table of it is kept yet'} |")
    notes = [_describe(table) for table in tables]
    return HEAD + "\n".join(lines) + "\n\n## What stands behind the numbers\n\n" + "\n\n".join(notes) + "\n"


def _describe(table: Mapping[str, Any]) -> str:
    protocol = "; ".join(f"{name}: {value}" for name, value in table["protocol"].items())
    versions = f"{table['device']}, torch {table['versions']['torch']}, commit {table['git_commit'][:7]}"
    return f"**{table['table']}, {table['run']}**: {protocol}. {versions}{', changed' if table['git_dirty'] else ''}."


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lib.run.claims", description=__doc__.split("\n\n")[0])
    parser.add_argument("runs", nargs="*", help="runs below outputs/ whose tables of 06 and 09 are kept first")
    chosen = parser.parse_args(arguments)
    try:
        for run in chosen.runs:
            for path in keep_tables(run, reference.REFERENCE):
                print(f"kept {path}")
        tables, path = read_tables(reference.REFERENCE), reference.REFERENCE / "claims.md"
    except (artifacts.ArtifactError, ValueError) as error:  # a stage that is missing, or a table that is damaged
        print(error, file=sys.stderr)
        return 2
    with artifacts.write_aside(path) as aside:
        aside.write_text(write_ledger(tables), encoding="utf-8")
    print(f"wrote {path} from {len(tables)} tables")
    return 0


if __name__ == "__main__":
    sys.exit(main())
