"""A video of yours: first eleven questions to the footage, then learn from it, then look at it.

    python -m lib.run.video drive.mp4
    python -m lib.run.video drive.mp4 --check                                 only the questions
    python -m lib.run.video drive.mp4 -p 01.crop_bottom=0.12 -p 01.video_step=2

The run is named after the file: outputs/video-drive. Interrupted, the same command goes on where it stopped.
Exit codes: as `lib.run`; 1 also for footage that nothing can be learned from.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .. import ROOT, params
from ..data.footage import Finding, check_video, describe_findings
from ..data.video import list_clips, name_clips
from . import chain
from .__main__ import main as run

HOPELESS = ("rotation only", "too slow")  # depth cannot be learned from it: it is told before an hour is spent


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m lib.run.video", description="Learn from a video, and segment it.")
    parser.add_argument("path", help="a video file, a folder of video files, or a folder of frames")
    parser.add_argument("-p", dest="overrides", action="append", default=[], metavar="NOTEBOOK.name=value")
    parser.add_argument("--params", default="params/video", help="folder with one YAML file a notebook")
    parser.add_argument("--check", action="store_true", help="only ask the questions")
    parser.add_argument("--anyway", action="store_true", help="go on with footage that nothing can be learned from")
    arguments = parser.parse_args(words)
    folder = Path(arguments.params)
    folder = folder if folder.is_dir() else ROOT / folder
    path = Path(arguments.path).expanduser().absolute()
    changes = [*arguments.overrides, f"01.path={path}"]
    try:
        values = chain.read_run(folder, chain.parse_overrides(changes), folder.name, "")["01_depth"]
        clips = list_clips(path)
        name = name_clips([path])[0]
        hopeless = [finding for clip in clips for finding in _ask(clip, values) if finding.name in HOPELESS]
    except params.ParameterError as error:
        print(error, file=sys.stderr)
        return chain.BAD_PARAMETER
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return chain.FAILED
    except KeyboardInterrupt:
        print("interrupted before anything was learned", file=sys.stderr)
        return 130
    if arguments.check:
        return 0
    if hopeless and not arguments.anyway:
        print("depth cannot be learned from this: follow the remedies above, or add --anyway", file=sys.stderr)
        return chain.FAILED
    command = [str(folder), "--out", f"outputs/video-{name}", *(word for c in changes for word in ("-p", c))]
    look = [] if len(clips) == 1 else ["-p", f"11.path={clips[0]}"]  # of several files the first is looked at
    return run([*command, "--to", "04"]) or run([*command, *look, "--only", "11"])


def _ask(clip: Path, values: params.DepthParams) -> list[Finding]:
    """Print what was found of one clip; the findings that are not fine."""
    findings = check_video(clip, values.video_step, values.crop_bottom)
    print(f"{clip.name}\n{describe_findings(findings)}\n")
    return [finding for finding in findings if not finding.ok]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
