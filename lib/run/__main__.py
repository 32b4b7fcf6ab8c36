"""The command line of a run.

    python -m lib.run params/street                      the chain, what is up to date is skipped
    python -m lib.run params/street --from 04 -p 04_training.steps=500 --out outputs/longer
    python -m lib.run params/street --seeds 0 1 2        04 and 05 once more for each seed, then what they say together
    python -m lib.run params/camvid --folds 0 1 2        the whole chain for each fold of the data, then the same
    python -m lib.run compare street street-seed1        as python -m lib.run.compare; so for the others of `COMMANDS`

Exit codes: 0 done, 1 a notebook failed, 2 a parameter is wrong, 3 another run holds the folder, 130 interrupted.
"""

import argparse
import importlib
import logging
import sys
import warnings
from pathlib import Path
from typing import Any

from .. import ROOT, artifacts, params
from . import chain, compare, notebooks, reference

PAPERMILL = ("Input Notebook", "Output Notebook", "Working directory", "Executing", "Ending", "Cell ")
NO_NEWS = ("<Picture", "VBox(", "HBox(", *PAPERMILL)


def read_arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m lib.run", description="Execute the notebooks of one run in order.")
    parser.add_argument("params", nargs="?", help="folder with one YAML file a notebook, e.g. params/street")
    parser.add_argument("--from", dest="first", default="01", metavar="NN", help="first notebook (01)")
    parser.add_argument("--to", dest="last", default="05", metavar="NN", help="last notebook (05)")
    parser.add_argument("--only", metavar="NN", help="this notebook alone")
    parser.add_argument("-p", dest="overrides", action="append", default=[], metavar="NOTEBOOK.name=value")
    parser.add_argument("--data-root", default="", metavar="DIR", help="folder of the downloads")
    parser.add_argument("--out", default="", metavar="outputs/NAME", help="folder of the results (outputs/RUN)")
    parser.add_argument("--force", action="store_true", help="execute even what is up to date")
    parser.add_argument("--seeds", nargs="+", type=int, default=[], metavar="N", help="04 and 05 for each of these")
    parser.add_argument("--folds", nargs="+", type=int, default=[], metavar="N", help="01 to 05 for each of these")
    parser.add_argument("--record", action="store_true", help="keep the numbers as outputs/reference/RUN.json")
    parser.add_argument("--refresh", action="store_true", help="execute the notebooks themselves at their defaults")
    arguments = parser.parse_args(words)
    if bool(arguments.params) == arguments.refresh:
        parser.error("give a folder of parameters, e.g. params/street, or --refresh")
    if (arguments.seeds or arguments.folds) and (arguments.only or arguments.last not in ("5", "05", "05_evaluation")):
        parser.error("--seeds and --folds go on to 05: leave out --only and --to")
    return arguments


def start_log(folder: Path) -> None:
    """Progress to the console and, with times, to outputs/RUN/run.log."""
    folder.mkdir(parents=True, exist_ok=True)
    warnings.filterwarnings("ignore", module="papermill|nbclient|zmq|traitlets")
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    file = logging.FileHandler(folder / "run.log")
    file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    console = logging.StreamHandler(sys.stdout)
    console.setFormatter(logging.Formatter("%(message)s"))
    for name in ("lib.run", "papermill"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.handlers = [file, console]
    logging.getLogger("papermill").addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """What a cell printed, without what only means something inside a notebook."""
    text = record.getMessage().strip()
    return record.levelno > logging.INFO or (bool(text) and not text.startswith(NO_NEWS))


COMMANDS = {
    name: name for name in ("compare", "segment", "export", "claims", "video", "prepare", "regions", "ablation")
}
COMMANDS |= {name: f"{name}.__main__" for name in ("report", "doctor")}


def main(words: list[str]) -> int:
    if words and words[0] in COMMANDS:
        return importlib.import_module(f".{COMMANDS[words[0]]}", __package__).main(words[1:])
    arguments = read_arguments(words)
    if arguments.refresh:
        return notebooks.refresh()
    folder = Path(arguments.params)
    folder = folder if folder.is_dir() else ROOT / folder
    out = Path(arguments.out) if arguments.out else None
    run = folder.resolve().name if out is None else out.name if out.parent.name == "outputs" else str(out.resolve())
    first, last = (arguments.only, arguments.only) if arguments.only else (arguments.first, arguments.last)
    try:
        first, last = chain.find_notebook(first), chain.find_notebook(last)
        overrides = chain.parse_overrides(arguments.overrides)
        values = chain.read_run(folder, overrides, run, arguments.data_root)
        chains = _vary(values, arguments.folds, arguments.seeds)
        seeds = arguments.seeds or [values["04_training"].seed]
        compared = [name for name, each in chains.items() if each["04_training"].seed in seeds]
    except params.ParameterError as error:
        print(error, file=sys.stderr)
        return chain.BAD_PARAMETER
    output = artifacts.run_folder(run)
    try:
        with chain.only_run(output):
            start_log(output)
            own = chains.pop(run, None)  # folds may leave out the one that the parameters name
            code = chain.run_chain(own, first, last, arguments.force) if own else 0
            for other, varied in chains.items():
                code = code or _run_other(other, varied, arguments.force)
    except BlockingIOError as error:
        print(error, file=sys.stderr)
        return chain.BUSY
    except KeyboardInterrupt:
        print(f"interrupted; the same command goes on where it stopped ({output})", file=sys.stderr)
        return 130
    if own:
        print(f"\n{chain.score_table(run)}\n")
    if code == 0 and (arguments.seeds or arguments.folds):
        code = compare.main(compared)
    if own and code == 0 and arguments.record:
        print(reference.record(run))
    for line in reference.compare(run) if own else ():
        print(line)
    print(f"executed notebooks: {output}/*.ipynb   log: {output}/run.log")
    return code


def _vary(values: dict[str, Any], folds: list[int], seeds: list[int]) -> dict[str, dict[str, Any]]:
    """What is to be executed: the run, or its folds, and of each the seeds; name of the run -> parameters.

    Raises:
        ParameterError: see `chain.vary_fold`.
    """
    found = {}
    for whole in [chain.vary_fold(values, fold) for fold in dict.fromkeys(folds)] or [values]:
        found[whole["05_evaluation"].run] = whole
        for seed in dict.fromkeys(seeds):
            varied = chain.vary_seed(whole, seed)
            found.setdefault(varied["05_evaluation"].run, varied)
    return found


def _run_other(run: str, values: dict[str, Any], force: bool) -> int:
    """A fold or a seed of the run that was asked for; the exit code."""
    with chain.only_run(artifacts.run_folder(run)):
        logging.getLogger("lib.run").info("in outputs/%s", run)
        return chain.run_chain(values, min(values), "05_evaluation", force)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
