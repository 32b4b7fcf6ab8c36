"""Is a video fit to learn depth from? Eleven checks, each with what was found and what to change.

`check_video` looks at a sample of a file or a folder of frames; `check_footage` at frames that are there already.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import resize_image
from ..video import probe_video, read_video
from .checks import CHECKS, Finding
from .view import SHORTEST, check_ranges, make_view

__all__ = ["Finding", "Sample", "check_footage", "check_video", "describe_findings", "sample_frames"]

RUN = 40  # frames that a run has at most: a sample of 120 frames comes from 3 parts of the video


@dataclass(frozen=True)
class Sample:
    """Runs of neighbouring kept frames, spread over a video.

    frames: RGB. (T, H, W, 3) uint8. times: in seconds. (T,) runs: number of each frame's run. (T,)
    file_times: of all frames in the file. (N,) step, crop_bottom: how the frames were kept and cut.
    """

    frames: np.ndarray
    times: np.ndarray
    runs: np.ndarray
    file_times: np.ndarray
    step: int
    crop_bottom: float


def check_footage(
    frames: Iterable[np.ndarray],
    times: Sequence[float],
    runs: Sequence[int] | None = None,
    step: int = 1,
    crop_bottom: float = 0.0,
    file_times: Sequence[float] | None = None,
) -> list[Finding]:
    """All checks of a video, in a fixed order; the same input gives the same findings.

    Args:
        frames: RGB, at a small size, best about 320 pixels wide. (T, H, W, 3) uint8
        times: of each frame, in seconds. (T,)
        runs: neighbouring frames of one number follow each other; None = all do. (T,)
        step: the `video_step` that the frames were kept with.
        crop_bottom: the share of the height that was cut off below.
        file_times: of all frames in the file, if `frames` are a sample of it; None = `times`.
    Raises:
        ValueError: fewer than 3 frames, or arrays that do not fit each other.
    """
    view = make_view(frames, times, runs, step, crop_bottom, file_times)
    return [check(view) for check in CHECKS]


def check_video(path: str | Path, step: int = 1, crop_bottom: float = 0.0, count: int = 120) -> list[Finding]:
    """All checks of one clip, on a sample of `count` frames of it.

    Args:
        path: a video file or a folder of frames.
        step, crop_bottom: the parameters `video_step` and `crop_bottom`.
    Raises:
        FileNotFoundError, ValueError: as `sample_frames`.
    """
    sample = sample_frames(path, step, count, crop_bottom=crop_bottom)
    return check_footage(sample.frames, sample.times, sample.runs, step, crop_bottom, sample.file_times)


def describe_findings(findings: Iterable[Finding]) -> str:
    """A line for each finding and, where it is not fine, one for what to do about it."""
    lines = []
    for finding in findings:
        lines.append(f"{'fine' if finding.ok else 'LOOK':5s}{finding.name:20s}{finding.sentence}")
        if not finding.ok:
            lines.append(f"{'':25s}-> {finding.remedy}")
    return "\n".join(lines)


def sample_frames(
    path: str | Path, step: int = 1, count: int = 120, width: int = 320, crop_bottom: float = 0.0
) -> Sample:
    """Runs of kept frames that follow each other, spread evenly over a clip; all frames of a short one.

    Args:
        path: a video file or a folder of frames.
        step: every so manyth frame is kept.
        count: frames in all.
        width: of the sample in pixels; narrower video stays as it is.
        crop_bottom: share of the height that is cut off below.
    Raises:
        FileNotFoundError, ValueError: as `read_video`; also fewer than 3 kept frames, or a step or share out of range.
    """
    check_ranges(step, crop_bottom)
    info = probe_video(path)
    kept = range(0, info.frames, step)
    if len(kept) < SHORTEST:
        raise ValueError(
            f"{path} has {info.frames} frames, of which video_step = {step} keeps {len(kept)}: too short to be "
            "checked, use a smaller video_step or a longer video"
        )
    parts = 1 if len(kept) <= count else -(-count // RUN)
    length = min(len(kept), count // parts)
    starts = np.linspace(0, len(kept) - length, parts).astype(int)
    wanted = {kept[start + k]: part for part, start in enumerate(starts) for k in range(length)}
    frames, times, runs = [], [], []
    for number, seconds, image in read_video(path, step, wanted=wanted):
        image = image[: max(1, image.shape[0] - round(crop_bottom * image.shape[0]))]
        scale = min(1, width / image.shape[1])
        frames.append(resize_image(image, (max(1, round(scale * image.shape[0])), round(scale * image.shape[1]))))
        times.append(seconds)
        runs.append(wanted[number])
        if len(frames) == len(wanted):
            break
    return Sample(np.stack(frames), np.array(times), np.array(runs), info.times, step, crop_bottom)
