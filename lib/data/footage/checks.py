"""Eleven checks of a video. Each returns a `Finding`, passed or not; what it cannot judge it says and passes.

The thresholds are shares of the image width, or counts that hardly depend on the size of the frames. They were set on
generated streets and on KITTI, CamVid and Cityscapes: video that depth is known to be learned from passes.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from .view import LEAST_STILL_FRAMES, View, scene_changes

LEAST_FRAMES = 100  # kept frames: CamVid's one video, which depth is learned from here, has 101
SLOWEST = 1 / 416  # of the width: SfMLearner leaves out frames that move by less than 1 of 416 pixels
STILL = 0.0005  # of the width, 0.16 of 320 pixels: what tracking reports where a camera stands
USUAL = 0.01  # of the width: the median of KITTI at 10 Hz, which suggested steps aim at
FASTEST = 0.06  # of the width, 19 of 320 pixels: the photometric loss finds no way over larger distances
LEAST_FOLLOWED = 0.45  # share of corners: KITTI keeps 0.8; of every second frame 0.65; of every fourth 0.4
USUAL_FOLLOWED = 0.7  # what suggested steps aim at
MOST = 0.5  # of the pairs of frames: more than half decide
NIGHT = 25  # median grey level; CamVid's dusk drive has 31, daylight 50 to 130
DARK, MOST_DARK = 30, 0.6  # a dark pixel's grey level; their share, 0.46 in CamVid's dusk
UNEVEN, MOST_UNEVEN = 0.25, 0.05  # a time step this far off the median is uneven; their share
MOST_REPEATED = 0.03  # share of frames: 24 Hz stored as 25 repeats 0.04
CORNER = 1e-3  # smallest eigenvalue of a clear corner's structure tensor, as OpenCV scales it
LEAST_DETAIL = 30  # clear corners a frame: the sharp samples have 95 to 300, blurred by 2 of 320 pixels 14 to 60
DETAIL_FRAMES = 20  # that corners are counted in


@dataclass(frozen=True)
class Finding:
    """One check: what was measured, in which unit, what that means and, if the check is not passed, what to change."""

    name: str
    ok: bool
    value: float
    unit: str
    sentence: str
    remedy: str = ""


def _judge(name: str, ok: bool, value: float, unit: str, sentence: str, remedy: str) -> Finding:
    return Finding(name, bool(ok), float(value), unit, sentence, "" if ok else remedy)


def check_length(view: View) -> Finding:
    """Are there enough frames to learn from?"""
    smaller = max(1, view.kept * view.step // LEAST_FRAMES)
    remedy = f"set video_step = {smaller}" if smaller < view.step else f"use a video of {LEAST_FRAMES} frames or more"
    sentence = f"{view.kept} frames are kept; {LEAST_FRAMES} or more are wanted"
    return _judge("length", view.kept >= LEAST_FRAMES, view.kept, "frames", sentence, remedy)


def check_shape(view: View) -> Finding:
    """Is the picture wider than high? Of a portrait, the runs' wide shape leaves a strip, of another field of view."""
    height, width = view.gray.shape[1:]
    remedy = (
        "hold the phone level; or give the field of view across the short side, and expect two thirds to be cut off"
    )
    return _judge(
        "portrait",
        width >= height,
        width / height,
        "width / height",
        f"{width / height:.2f} times as wide as high",
        remedy,
    )


def check_slow(view: View) -> Finding:
    """Does the camera move enough from frame to frame?"""
    if not len(view.flow):
        return Finding("too slow", True, 0.0, "share of the width", "no corners to follow: motion cannot be judged")
    usual, slow, stands = np.median(view.flow), (view.flow < SLOWEST).mean(), (view.flow < STILL).mean()
    sentence = (
        f"the image moves by {100 * usual:.2f} % of its width from frame to frame (median); "
        f"{100 * slow:.0f} % of the frames hardly move, {100 * stands:.0f} % stand"
    )
    remedy = f"set video_step = {max(view.step + 1, round(view.step * USUAL / max(usual, STILL)))}"
    if stands > MOST:
        remedy = "cut the halts out: ffmpeg -ss FROM -to TO -i in.mp4 out.mp4, with FROM and TO in seconds"
    return _judge("too slow", slow <= MOST, usual, "share of the width", sentence, remedy)


def check_fast(view: View) -> Finding:
    """Can things be recognised from frame to frame?"""
    followed = view.motion.followed[np.isfinite(view.motion.followed) & ~view.repeated & ~view.cut]
    if not len(followed):
        return Finding("too fast", True, 0.0, "share of corners", "no corners to follow: motion cannot be judged")
    share, usual = np.median(followed), np.median(view.flow) if len(view.flow) else 0.0
    sentence = (
        f"{100 * share:.0f} % of the corners can be followed from frame to frame (median), "
        f"over {100 * usual:.1f} % of the width; {100 * LEAST_FOLLOWED:.0f} % or more are wanted"
    )
    # the share falls as a power of the step, the way grows in proportion to it
    factor = min(np.log(USUAL_FOLLOWED) / np.log(np.clip(share, 0.01, 0.99)), FASTEST / max(usual, STILL), 1)
    remedy = f"set video_step = {max(1, min(view.step - 1, int(view.step * factor)))}"
    if view.step == 1:
        remedy = "record more frames a second or drive more slowly: video_step is 1, there are no frames in between"
    ok = share >= LEAST_FOLLOWED and usual <= FASTEST
    return _judge("too fast", ok, share, "share of corners", sentence, remedy)


def check_rotation(view: View) -> Finding:
    """Does the camera drive, or only turn on the spot?"""
    if np.isnan(view.turns):
        return Finding("rotation only", True, 0.0, "share of frames", "too little moves to tell driving from turning")
    sentence = f"{100 * view.turns:.0f} % of the motion is that of a camera that turns on the spot, without parallax"
    remedy = "use footage that drives forward: depth cannot be learned from turning"
    return _judge("rotation only", view.turns <= MOST, view.turns, "share of frames", sentence, remedy)


def check_bonnet(view: View) -> Finding:
    """Does the camera see its own car?"""
    changes = len(view.gray) >= LEAST_STILL_FRAMES and scene_changes(view.still, view.crop_bottom)
    if not changes or view.turns > MOST:
        sentence = "the camera does not drive: its own car cannot be told from the street"
        return Finding("bonnet", True, 0.0, "share of the height", sentence)
    share = view.crop_bottom + (1 - view.crop_bottom) * view.bonnet if view.bonnet else 0.0
    sentence = "nothing at the lower edge is fixed to the camera"
    if share:
        sentence = f"the lower {100 * share:.0f} % of the image are fixed to the camera, like a bonnet or a bar"
    remedy = f"set crop_bottom = {np.ceil(100 * share) / 100:.2f}"
    return _judge("bonnet", not share, share, "share of the height", sentence, remedy)


def check_night(view: View) -> Finding:
    """Is there light?"""
    median, dark = np.median(view.gray), (view.gray < DARK).mean()
    sentence = f"the median grey level is {median:.0f} of 255, and {100 * dark:.0f} % of the pixels are dark"
    remedy = "use daylight footage, or brighten it first: ffmpeg -i in.mp4 -vf eq=gamma=2 out.mp4"
    return _judge("night", median >= NIGHT and dark <= MOST_DARK, median, "grey levels", sentence, remedy)


def check_rate(view: View) -> Finding:
    """Are frames equally spaced in time?"""
    steps = view.time_steps
    usual = np.median(steps)
    uneven = (np.abs(steps - usual) > UNEVEN * usual).mean() if usual > 0 else 1.0
    rate = max(1, round(len(steps) / max(view.seconds, 1e-6)))
    sentence = (
        f"{100 * uneven:.0f} % of the steps between frames are uneven: from {1000 * steps.min():.0f} to "
        f"{1000 * steps.max():.0f} ms, median {1000 * usual:.0f}"
    )
    remedy = f"convert it first: ffmpeg -i in.mp4 -vf fps={rate} out.mp4"
    return _judge("variable frame rate", uneven <= MOST_UNEVEN, uneven, "share of steps", sentence, remedy)


def check_repeats(view: View) -> Finding:
    """Does every frame show something new?"""
    share = view.repeated.mean()
    sentence = f"{100 * share:.0f} % of the frames repeat the one before, while the camera moves"
    rate = max(1, round((1 - share) * view.kept / max(view.seconds, 1e-6)))
    remedy = f"convert it first: ffmpeg -i in.mp4 -vf mpdecimate,fps={rate} out.mp4, and set video_step = 1"
    return _judge("repeated frames", share <= MOST_REPEATED, share, "share of frames", sentence, remedy)


def check_cuts(view: View) -> Finding:
    """Is it one recording?"""
    at = view.times[view.motion.first[view.cut].astype(int) + 1]
    text = ", ".join(f"{seconds:.1f}" for seconds in at[:8]) + (" and more" if len(at) > 8 else "")
    sentence = f"{len(at)} change{'s' * (len(at) != 1)} of scene" + (f", at {text} seconds" if len(at) else "")
    remedy = f"split the file at {text} seconds: ffmpeg -ss FROM -to TO -i in.mp4 part.mp4; all parts into one folder"
    return _judge("cuts", not len(at), len(at), "cuts", sentence, remedy)


def check_detail(view: View) -> Finding:
    """Are there corners to see motion by?"""
    rows = np.unique(np.linspace(0, len(view.gray) - 1, DETAIL_FRAMES).astype(int))
    scene = view.gray[:, : view.gray.shape[1] - round(view.bonnet * view.gray.shape[1])]
    count = np.median([_count_corners(scene[t]) for t in rows])
    sentence = f"{count:.0f} clear corners a frame (median); {LEAST_DETAIL} or more are wanted"
    remedy = "clean or focus the lens, or use sharper footage: depth is learned from what can be told apart"
    return _judge("low detail", count >= LEAST_DETAIL, count, "corners", sentence, remedy)


def _count_corners(image: np.ndarray) -> int:
    strongest = cv2.cornerMinEigenVal(image, 3).max()
    if strongest <= CORNER:
        return 0
    corners = cv2.goodFeaturesToTrack(image, 300, CORNER / strongest, image.shape[1] / 50)
    return 0 if corners is None else len(corners)


CHECKS = (
    check_length,
    check_shape,
    check_slow,
    check_fast,
    check_rotation,
    check_bonnet,
    check_night,
    check_rate,
    check_repeats,
    check_cuts,
    check_detail,
)
