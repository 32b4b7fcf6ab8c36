"""Tileable surface patterns with mip levels: one atlas, sampled for all pixels of a frame in one call.

A pattern has two channels in [0, 1]: `tone` (brightness variation around 0.5) and `mask` (0 = the surface's
first colour, 1 = its second: mortar, glass, a sign's symbol). Colours stay with the objects, so one atlas
serves every clip. Sampling fades the octaves that a pixel cannot resolve, as a real lens does.
"""

from functools import lru_cache

import cv2
import numpy as np
from scipy.spatial import cKDTree

SIZE = 256  # texels a side of every pattern at its finest level
LEVELS = 9
_X, _Y = np.meshgrid((np.arange(SIZE) + 0.5) / SIZE, (np.arange(SIZE) + 0.5) / SIZE)  # tile units, y down


def value_noise(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Smooth tileable noise in [0, 1] from a grid of rows x columns random values. (SIZE, SIZE)"""
    grid = np.pad(rng.random((rows, columns)), 2, mode="wrap").astype(np.float32)
    fy, fx = SIZE // rows, SIZE // columns
    smooth = cv2.resize(grid, (grid.shape[1] * fx, grid.shape[0] * fy), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth[2 * fy : 2 * fy + SIZE, 2 * fx : 2 * fx + SIZE], 0, 1)


def _fractal(rng, cells=(4, 8, 16, 32, 64, 128), fall=0.8, stretch=1):
    """Octaves of value noise, mean 0.5; stretch > 1 draws it out along y (grain, blades)."""
    total = sum(fall**i * (value_noise(rng, max(c // stretch, 2), c) - 0.5) for i, c in enumerate(cells))
    return np.clip(0.5 + 0.22 * total / total.std(), 0, 1)


def _cells(rng, count):
    """Nearest-point cells on the torus: a random value per cell, and 0 at joints to 1 inside."""
    points = rng.random((count, 2))
    distance, nearest = cKDTree(points, boxsize=1.0).query(np.stack([_X, _Y], -1).reshape(-1, 2), k=2)
    joint = np.clip((distance[:, 1] - distance[:, 0]) * np.sqrt(count) * 3, 0, 1)
    return rng.random(count)[nearest[:, 0]].reshape(SIZE, SIZE), joint.reshape(SIZE, SIZE)


def _blocks(rng, rows, columns, joint, bond=0.5):
    """Bricks, slabs, boards: a random value per block and a mask of the joints (width in tile units)."""
    y = np.floor(_Y * rows).astype(int)
    x = _X * columns + bond * (y % 2)
    value = rng.random((rows, columns))[y, np.floor(x).astype(int) % columns]
    gap_x, gap_y = np.minimum(x % 1, 1 - x % 1) / columns, np.minimum(_Y * rows % 1, 1 - _Y * rows % 1) / rows
    return value, (np.minimum(gap_x, gap_y) < joint / 2).astype(float)


def _inside(x, y, x0, x1, y0, y1):
    return ((x > x0) & (x < x1) & (y > y0) & (y < y1)).astype(float)


def _facade(rng, wide, high, columns=4, rows=4, bars=True):
    """Windows in a plastered front: panes with differing curtains, light frames and sills."""
    x, y = _X * columns % 1, _Y * rows % 1
    x0, y0 = (1 - wide) / 2, (1 - high) * 0.45
    pane = _inside(x, y, x0, 1 - x0, y0, y0 + high)
    around = _inside(x, y, x0 - 0.06, 1.06 - x0, y0 - 0.05, y0 + high + 0.09) - pane
    cross = pane * ((abs(x - 0.5) < 0.025) | (abs(y - y0 - high * 0.4) < 0.025)) * bars
    room = rng.random((rows, columns))[np.floor(_Y * rows).astype(int), np.floor(_X * columns).astype(int)]
    tone = _fractal(rng) * 0.5 + 0.25 + 0.35 * around + pane * (room - 0.5) + 0.15 * pane * (y0 + high - y)
    return tone + 0.3 * cross, pane - cross


def _sign(rng, kind):
    """Faces of traffic signs in plate coordinates: ring, bar, arrow, lines of text."""
    x, y = 2 * _X - 1, 2 * _Y - 1
    radius = np.hypot(x, y)
    if kind == "ring":
        mask = ((radius > 0.66) & (radius < 0.92)) | _inside(abs(x), abs(y), -1, 0.3, -1, 0.12).astype(bool)
    elif kind == "bar":
        mask = (abs(x) < 0.62) & (abs(y) < 0.2)
    elif kind == "arrow":
        mask = ((abs(x) < 0.14) & (abs(y) < 0.6)) | ((y < 0) & (abs(x) < 0.75 + y) & (y > -0.7))
    else:
        lines = value_noise(rng, 8, 64)[:, ::-1] > 0.38
        mask = ((abs(x) > 0.93) | (abs(y) > 0.9)) | ((abs(x) < 0.8) & (abs(y) < 0.75) & (_Y * 8 % 2 < 1) & lines)
    return 0.45 + 0.1 * _fractal(rng), mask.astype(float)


def _car(rng):
    """Bodywork fitted to a face: lamps at both ends, door gaps, dark sill and a shoulder line."""
    lamp = _inside(abs(_X - 0.5), _Y, 0.40, 0.49, 0.22, 0.42)
    gaps = (abs(abs(_X - 0.5) - 0.17) < 0.008) | (abs(_X - 0.5) < 0.008)
    tone = 0.62 - 0.25 * _Y + 0.08 * _fractal(rng) - 0.5 * gaps * (_Y > 0.1) - 0.45 * (_Y > 0.8)
    plate = _inside(abs(_X - 0.5), _Y, -1, 0.13, 0.52, 0.66)
    return tone + 0.2 * (abs(_Y - 0.2) < 0.02) + 0.1 * plate, lamp


def _cabin(rng):
    glass = _inside(abs(_X - 0.5), _Y, -1, 0.45, 0.1, 0.97) - (abs(abs(_X - 0.5) - 0.07) < 0.02)
    return 0.5 + 0.15 * (_fractal(rng) - 0.5) + 0.3 * (0.5 - _Y), np.clip(glass, 0, 1)


def _ground_patterns(rng):
    slab, slab_joint = _blocks(rng, 8, 8, 0.012, 0.0)
    paver, paver_joint = _blocks(rng, 16, 8, 0.008)
    crack = np.clip(1 - abs(_fractal(rng, (4, 8, 16, 32)) - 0.5) * 40, 0, 1)
    patch = np.clip((value_noise(rng, 4, 4) - 0.66) * 12, 0, 1)
    yield "asphalt", 0.25 + 0.5 * _fractal(rng, fall=1.1) - 0.25 * crack, patch
    yield "slabs", 0.3 + 0.4 * slab + 0.3 * (_fractal(rng) - 0.5), slab_joint
    yield "pavers", 0.2 + 0.6 * paver + 0.3 * (_fractal(rng) - 0.5), paver_joint
    blades = 0.5 * _fractal(rng, (32, 64, 128), 1.0, stretch=4) + 0.5 * _fractal(rng, fall=1.0)
    yield "grass", 1.6 * (blades - 0.5) + 0.5, np.clip((_fractal(rng, (4, 8, 16)) - 0.5) * 2.5, 0, 1)
    yield "noise", _fractal(rng, fall=0.9), _fractal(rng, (2, 4, 8), 0.7)
    yield "soil", _fractal(rng, (8, 16, 32, 64, 128), 1.1), np.clip(_fractal(rng, (4, 8, 16, 32)) * 3 - 1.4, 0, 1)


def _wall_patterns(rng):
    brick, mortar = _blocks(rng, 24, 8, 0.008)
    stone, stone_joint = _cells(rng, 70)
    panel, panel_joint = _blocks(rng, 4, 3, 0.012, 0.0)
    board, board_gap = _blocks(rng, 1, 16, 0.012)
    yield "bricks", 0.15 + 0.6 * brick + 0.3 * (_fractal(rng) - 0.5), mortar
    yield "stones", 0.2 + 0.6 * stone + 0.4 * (_fractal(rng) - 0.5), 1 - stone_joint
    yield "panels", 0.4 + 0.2 * panel + 0.6 * (_fractal(rng, stretch=4) - 0.5), panel_joint
    grain = _fractal(rng, (16, 32, 64, 128), stretch=16)
    yield "boards", 0.2 + 0.5 * board + 0.4 * (grain - 0.5), board_gap
    bars = (abs(_X * 12 % 1 - 0.5) > 0.22) & (abs(_Y - 0.5) < 0.42)
    yield "railing", 0.5 + 0.3 * (_fractal(rng) - 0.5), bars.astype(float)
    tile, tile_gap = _blocks(rng, 16, 12, 0.012)
    yield "tiles", 0.2 + 0.5 * tile + 0.25 * (_Y * 16 % 1 - 0.5), tile_gap
    yield "windows", *_facade(rng, 0.42, 0.55)
    yield "wide", *_facade(rng, 0.72, 0.5)
    yield "glass", *_facade(rng, 0.9, 0.82, rows=4, columns=6, bars=False)
    yield "narrow", *_facade(rng, 0.4, 0.66, columns=5)
    tone, pane = _facade(rng, 0.8, 0.7, columns=3, rows=1, bars=False)
    yield "shop", np.where(_Y < 0.14, 0.9 * (_X * 12 % 1 > 0.5), tone), pane


def _thing_patterns(rng):
    leaf, gap = _cells(rng, 2500)
    clump, _ = _cells(rng, 60)
    shade = _fractal(rng, (8, 16, 32, 64), 1.0)
    yield "leaves", 0.5 * leaf * (0.5 + 0.5 * gap) + 0.9 * shade - 0.15, np.clip(1.5 * _fractal(rng) - 0.5, 0, 1)
    yield "needles", _fractal(rng, (16, 32, 64, 128), 1.1, stretch=4) * 1.6 - 0.3, np.clip(clump * 2 - 1, 0, 1)
    yield "bark", _fractal(rng, (16, 32, 64, 128), stretch=8) * 1.4 - 0.2, _fractal(rng)
    yield "metal", 0.5 + 0.4 * (_fractal(rng) - 0.5), (abs(_Y * 4 % 1 - 0.5) < 0.06).astype(float)
    stripes = (_Y * 10 % 1 < 0.5).astype(float)
    yield "striped", _fractal(rng), stripes
    yield "cloth", _fractal(rng, (4, 8, 16, 32)), np.clip((_fractal(rng, (4, 8)) - 0.5) * 6, 0, 1)
    yield "car", *_car(rng)
    yield "cabin", *_cabin(rng)
    hub = np.hypot(_X - 0.5, _Y - 0.5)
    yield "wheel", 0.4 + 0.2 * _fractal(rng), ((hub < 0.3) & (np.sin(5 * np.arctan2(_Y - 0.5, _X - 0.5)) > -0.5))
    for kind in ("ring", "bar", "arrow", "text"):
        yield kind, *_sign(rng, kind)


@lru_cache(maxsize=1)
def atlas() -> tuple[dict[str, int], np.ndarray, np.ndarray]:
    """All patterns: number by name, texels of all levels (sum of P s s, 2) float32, and each level's start."""
    patterns = [
        p
        for make in (_ground_patterns, _wall_patterns, _thing_patterns)
        for p in make(np.random.default_rng(np.random.SeedSequence([1, 77])))
    ]
    level = np.clip(np.stack([np.stack(p[1:], -1) for p in patterns]), 0, 1).astype(np.float32)
    levels = [level]
    for _ in range(LEVELS - 1):
        level = 0.25 * (level[:, ::2, ::2] + level[:, 1::2, ::2] + level[:, ::2, 1::2] + level[:, 1::2, 1::2])
        levels.append(level)
    starts = np.cumsum([0, *(x[..., 0].size for x in levels[:-1])])
    names = {p[0]: i for i, p in enumerate(patterns)}
    return names, np.concatenate([x.reshape(-1, 2) for x in levels]), starts


def sample(pattern: np.ndarray, u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    """Patterns at surface coordinates, filtered to the pixel's size (trilinear).

    Args:
        pattern: number in the atlas. (N,)
        u, v: position in tile units, any range (tiles repeat); v grows downwards. (N,)
        footprint: width of the pixel on the surface in tile units. (N,)

    Returns:
        Tone and mask in [0, 1]. (N, 2) float32
    """
    level = np.clip(np.log2(np.maximum(footprint * SIZE, 1e-6)), 0, LEVELS - 1.001)
    low = level.astype(np.int64)
    blend = (level - low).astype(np.float32)[:, None]
    return _bilinear(pattern, u, v, low) * (1 - blend) + _bilinear(pattern, u, v, low + 1) * blend


def _bilinear(pattern, u, v, level):
    _, texels, starts = atlas()
    size = SIZE >> level
    x, y = u * size - 0.5, v * size - 0.5
    x0, y0 = np.floor(x), np.floor(y)
    fx, fy = (x - x0).astype(np.float32)[:, None], (y - y0).astype(np.float32)[:, None]
    x0, y0, last = x0.astype(np.int64), y0.astype(np.int64), size - 1
    left, right = x0 & last, (x0 + 1) & last  # sizes are powers of two: the mask wraps the tile
    top = starts[level] + (pattern * size + (y0 & last)) * size
    bottom = starts[level] + (pattern * size + ((y0 + 1) & last)) * size
    pick = texels.view(np.complex64)[:, 0]  # both channels in one item: half the gathers
    (a, b, c, d) = (
        pick[i].view(np.float32).reshape(-1, 2) for i in (top + left, top + right, bottom + left, bottom + right)
    )
    upper, lower = a + (b - a) * fx, c + (d - c) * fx
    return upper + (lower - upper) * fy
