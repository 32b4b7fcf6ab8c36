"""One static page of a run.

    python -m lib.run.report street                      writes outputs/street/report.html

The page is one file of at most 10 MB and asks nothing of a network: no script, no font, every picture inside it.
Exit codes: 0 done, 1 the run has nothing finished, or its page cannot be made.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ... import artifacts
from .page import build_page


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m lib.run.report", description="One static page of a run.")
    parser.add_argument("run", help="folder below outputs/ with at least one finished stage")
    parser.add_argument("--out", metavar="FILE", help="where to write (outputs/RUN/report.html)")
    arguments = parser.parse_args(words)
    path = Path(arguments.out) if arguments.out else artifacts.run_folder(arguments.run) / "report.html"
    try:
        page = build_page(arguments.run)
        with artifacts.write_aside(path) as aside:
            aside.write_text(page, encoding="utf-8")
    except (artifacts.ArtifactError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{path}: {len(page.encode()) / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
