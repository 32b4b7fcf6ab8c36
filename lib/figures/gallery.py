"""Where a segmentation fails: a page of frames, the worst first, with what was taken for what."""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

import cv2
import numpy as np

from ..artifacts import write_aside
from ..data.labels import IGNORE, ClassSet
from . import blend, color_labels

TOLD = 3  # confusions a frame
WRONG = (255, 60, 40)
STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:1100px;padding:0 1em;color:#222}"
    ".row div{font-size:12px;color:#666}"
    "figure{margin:2em 0}.row{display:grid;grid-template-columns:repeat(4,1fr);gap:4px}img{width:100%;display:block;"
    "image-rendering:pixelated}figcaption{margin-top:.4em}.key span{display:inline-block;margin-right:1em}"
    ".key i{display:inline-block;width:.9em;height:.9em;margin-right:.3em;vertical-align:-.1em}"
)


def mark_mistakes(image: np.ndarray, predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The image in grey, red where the prediction is wrong, black where nobody knows. (H, W, 3) uint8

    Args:
        predicted, truth: train ids, 255 = no name, or ignored. (H, W)
    """
    gray = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    shown = gray // 2 + 100
    wrong = (predicted != truth) & (truth != IGNORE)
    shown[wrong] = blend(gray, np.full_like(gray, WRONG), 0.7)[wrong]
    shown[truth == IGNORE] = 0
    return shown


def tell_confusions(predicted: np.ndarray, truth: np.ndarray, classes: ClassSet, most: int = TOLD) -> list[str]:
    """The largest mistakes of one frame in words, e.g. "car taken for road: 7 % of the frame". Train ids, (H, W)"""
    names = dict(zip(classes.ids, classes.names)) | {IGNORE: "nothing"}
    known = truth != IGNORE
    wrong = known & (predicted != truth)
    pairs, counts = np.unique(np.stack([truth[wrong], predicted[wrong]]), axis=1, return_counts=True)
    order = counts.argsort(kind="stable")[::-1][:most]
    share = counts / max(known.sum(), 1)
    return [f"{names[pairs[0, i]]} taken for {names[pairs[1, i]]}: {share[i]:.0%} of the frame" for i in order]


def pick_worst(scores: np.ndarray, blocks: np.ndarray, most: int) -> np.ndarray:
    """Indices of the frames with the lowest scores, spread over the blocks: as many of each as fit, the worst first.

    Args:
        scores: NaN = not scored. (N,); blocks: clip, or part of a drive, of each frame. (N,)
    """
    each, taken, found = max(most // len(np.unique(blocks)), 1), dict.fromkeys(np.unique(blocks), 0), []
    for index in np.argsort(scores, kind="stable"):
        if np.isfinite(scores[index]) and taken[blocks[index]] < each:
            taken[blocks[index]] += 1
            found.append(index)
    return np.array(found[:most], int)


def write_gallery(
    path: Path,
    names: Sequence[str],
    images: np.ndarray,
    predicted: np.ndarray,
    truth: np.ndarray,
    classes: ClassSet,
    scores: np.ndarray,
    blocks: np.ndarray,
    most: int = 24,
) -> None:
    """One HTML file with the worst frames, pictures inside; it needs nothing beside it.

    Args:
        names: of the frames. images: (N, H, W, 3) uint8. predicted, truth: train ids, 255 = none. (N, H, W)
        scores, blocks, most: see `pick_worst`.
    """
    order = pick_worst(scores, blocks, most)
    figures = []
    for index in order:
        pictures = {
            "frame": images[index],
            "prediction": color_labels(predicted[index], classes),
            "truth": color_labels(truth[index], classes),
            "mistakes in red": mark_mistakes(images[index], predicted[index], truth[index]),
        }
        row = "".join(f'<div>{what}<img src="{_encode(p)}" alt="{what}"></div>' for what, p in pictures.items())
        told = escape("; ".join(tell_confusions(predicted[index], truth[index], classes)) or "no mistake")
        head = f"<strong>{escape(names[index])}</strong>, mIoU of its classes {scores[index]:.2f}"
        figures.append(f'<figure><div class="row">{row}</div><figcaption>{head}: {told}</figcaption></figure>')
    key = "".join(
        f'<span><i style="background:rgb{tuple(c)}"></i>{escape(n)}</span>'
        for n, c in zip(classes.names, classes.colors)
    )
    body = (
        f"<h1>Where it fails</h1><p>{len(order)} of {len(names)} frames, the worst first, of each clip or part of a "
        f'drive as many as fit.</p><p class="key">{key}</p>{"".join(figures)}'
    )
    page = f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Failures</title><style>{STYLE}</style>'
    with write_aside(path) as aside:
        aside.write_text(f"{page}</head><body>{body}</body></html>\n", encoding="utf-8")


def _encode(image: np.ndarray) -> str:
    found, data = cv2.imencode(".png", cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2BGR))
    if not found:
        raise ValueError("the picture could not be written as PNG")
    return "data:image/png;base64," + base64.b64encode(data.tobytes()).decode()
