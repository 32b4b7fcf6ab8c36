"""What stands and drives on the street: cars, people, trees, buildings, ... built from convex parts.

A thing has an instance id, a label and parts in its own frame (x right, y down, z forward, origin on the
ground below it; `at` gives x, height above ground, z). A part is a convex solid of up to 8 planes, an
ellipsoid, or a cylinder about its y axis.
"""

import colorsys
from dataclasses import dataclass

import numpy as np

from .textures import atlas

ROAD, SIDEWALK, BUILDING, WALL, FENCE, POLE, SIGN = 0, 1, 2, 3, 4, 5, 7
VEGETATION, TERRAIN, SKY, PERSON, CAR = 8, 9, 10, 11, 13
SOLID, ROUND, TUBE = 0, 1, 2


def hsv(rng, ranges) -> np.ndarray:
    """A colour drawn uniformly from ((h0, h1), (s0, s1), (v0, v1)); RGB in [0, 1]. (3,)"""
    return np.array(colorsys.hsv_to_rgb(*(rng.uniform(*r) for r in ranges)))


def rotation(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """Turn right by yaw, then look up by pitch, then tilt clockwise by roll (radians). (3, 3)"""
    (cy, cp, cr), (sy, sp, sr) = np.cos([yaw, pitch, roll]), np.sin([yaw, pitch, roll])
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    return turn @ np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]]) @ np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])


@dataclass(frozen=True)
class Look:
    """Surface of a part: pattern, its two colours, contrast, tile size in metres (None: fitted to the part)."""

    texture: str
    colour: np.ndarray | tuple
    second: np.ndarray | tuple = (0.1, 0.1, 0.12)
    contrast: float = 0.6
    tile: tuple | None = (1.0, 1.0, 1.0)


class Builder:
    """Collects things; `arrays` turns them into one array per property, a row per part."""

    def __init__(self):
        self.rows, self.movers, self.count = [], {}, 0

    def thing(self, label: int, pose: np.ndarray, mover=None) -> None:
        """Begin a thing at a pose (world_from_thing, 4x4), or one that follows `mover`."""
        self.count += 1
        self.label, self.pose = label, np.eye(4) if mover else pose
        if mover:
            self.movers[self.count] = mover

    def part(self, shape, at, half, look: Look, turn=None, planes=None, base=0.0) -> None:
        """Add a part of half extents `half` centred at `at`; `base`: height where the pattern begins."""
        turned, tile = np.eye(3) if turn is None else rotation(*turn), look.tile or (0, 0, 0)
        where = shape, (at[0], -at[1], at[2]), half, turned, planes, base, self.pose, self.label, self.count
        self.rows.append((*where, atlas()[0][look.texture], look.colour, look.second, look.contrast, tile))

    def arrays(self) -> dict[str, np.ndarray]:
        """Shape, centre, turn, half, planes (K, 8, 4), label, instance, texture, colours, contrast, tile, offset."""
        columns = [list(column) for column in zip(*self.rows)]
        planes = columns.pop(4)
        shape, at, half, turn, base, pose, *rest = (np.array(column) for column in columns)
        out = dict(zip(("label", "instance", "texture", "colour", "second", "contrast", "tile"), rest))
        centre = np.einsum("kij,kj->ki", pose[:, :3, :3], at) + pose[:, :3, 3]
        out |= {"shape": shape, "half": half, "turn": pose[:, :3, :3] @ turn, "centre": centre}
        box = np.concatenate([np.eye(3), -np.eye(3)])
        out["planes"] = np.tile([0.0, 0, 0, 1], (len(shape), 8, 1))  # a plane that cuts nothing
        out["planes"][:, :6, :3], out["planes"][:, :6, 3] = box, np.tile(half, 2)
        for k, given in enumerate(planes):
            if given is not None:
                out["planes"][k] = np.concatenate([given, np.tile([0.0, 0, 0, 1], (8 - len(given), 1))])
        fitted, shift = out["tile"][:, :1] == 0, 0.618 * np.arange(len(shape)) % 1
        out["tile"] = np.where(fitted, 2 * half, out["tile"])
        # Equal parts must not look equal, and a wall's pattern starts at its foot.
        offset = np.stack([shift, (at[:, 1] + base) / out["tile"][:, 1], shift], 1)
        return out | {"offset": np.where(fitted, 0.5, offset)}

    def prism(self, outline, half_width, lean, look):
        """Extrude a convex side view, points (z, height) in turn from rear bottom over the front, along x."""
        points = np.asarray(outline, float)
        low, high = points.min(0), points.max(0)
        centre, half = (low + high) / 2, (high - low) / 2
        edge = np.roll(points, -1, axis=0) - points
        normal = np.stack([np.zeros(len(points)), edge[:, 0], edge[:, 1]], 1)  # outward, as (x, y down, z)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        local = np.stack([np.zeros(len(points)), -(points[:, 1] - centre[1]), points[:, 0] - centre[0]], 1)
        planes = [np.append(n, n @ p) for n, p in zip(normal, local)]
        side = np.array([1, -lean, 0]) / np.hypot(1, lean)
        middle = half_width - lean * half[1]
        planes += [np.append(side * [s, 1, 0], side[0] * middle) for s in (1, -1)]
        self.part(SOLID, (0, centre[1], centre[0]), (half_width, half[1], half[0]), look, planes=np.array(planes))


CARS = (  # length, width, height, bonnet, belt line, boot, slant of the rear window
    (3.7, 1.70, 1.48, 0.75, 0.95, 0.12, 0.5),  # compact
    (4.6, 1.80, 1.45, 1.25, 0.95, 0.95, 0.5),  # sedan
    (4.7, 1.85, 1.72, 1.05, 0.95, 0.15, 0.08),  # wagon
    (5.2, 1.98, 2.30, 0.55, 1.15, 0.05, 0.08),  # van
)
PAINTS = ((0, 1), (0, 0.12), (0.1, 0.95)), ((0, 1), (0.5, 0.9), (0.25, 0.8))  # greys and colours


def car(b: Builder, rng, pose, mover=None, oncoming=False):
    """One of several cars; lamps are white ahead and red behind, by the side that will be seen."""
    length, width, height, bonnet, belt, boot, slant = CARS[int(rng.integers(len(CARS)))]
    paint = hsv(rng, PAINTS[int(rng.integers(2))])
    body = Look("car", paint, (1, 0.97, 0.85) if oncoming else (0.85, 0.08, 0.05), 0.8, None)
    glass = Look("cabin", paint, np.array([0.08, 0.1, 0.13]) + 0.1 * rng.random(), 0.5, None)
    wheel = Look("wheel", (0.09, 0.09, 0.1), (0.6, 0.6, 0.62), 0.5, None)
    front, half, roof = length / 2, width / 2, height - 0.05
    low = [(0.06 - front, 0.24), (front - 0.06, 0.24), (front, 0.5), (front - 0.1, 0.74)]
    b.thing(CAR, pose, mover)
    b.prism([*low, (front - bonnet, belt), (-front, belt)], half, 0.0, body)
    back, ahead = boot - front, front - bonnet
    top = back + slant, ahead - (0.65 if height < 2 else 0.35)  # the roof, from rear to front
    b.prism([(back, belt), (ahead, belt), (top[1], roof), (top[0], roof)], half, 0.18, glass)
    size = half - 0.17 * (height - belt), 0.03, (top[1] - top[0]) / 2
    b.part(SOLID, (0, height - 0.03, sum(top) / 2), size, Look("noise", paint, paint, 0.3))
    for x, z in ((-1, -0.31), (-1, 0.31), (1, -0.31), (1, 0.31)):
        b.part(TUBE, (x * (half - 0.1), 0.33, z * length), (0.33, 0.115, 0.33), wheel, turn=(0, 0, np.pi / 2))


def person(b: Builder, rng, pose, mover=None):
    """A standing or striding figure of one rigid pose."""
    s = rng.uniform(0.92, 1.1) if rng.random() > 0.12 else 0.7  # some are children
    shirt, trousers = hsv(rng, ((0, 1), (0.1, 0.85), (0.3, 0.95))), hsv(rng, ((0.5, 0.75), (0, 0.5), (0.08, 0.4)))
    skin, hair = hsv(rng, ((0.04, 0.09), (0.3, 0.55), (0.35, 0.9))), hsv(rng, ((0.03, 0.12), (0.2, 0.7), (0.05, 0.6)))
    top = Look(("cloth", "striped")[int(rng.random() < 0.25)], shirt, shirt * rng.uniform(0.5, 1.4), 0.6, (0.9,) * 3)
    legs = Look("cloth", trousers, trousers * 0.7, 0.5, (0.7,) * 3)
    stride = rng.uniform(0.2, 0.42) if mover else 0.06

    def limb(shape, at, half, look, turn=None):
        b.part(shape, np.multiply(s, at), np.multiply(s, half), look, turn)

    b.thing(PERSON, pose, mover)
    for side in (-1, 1):
        limb(TUBE, (0.1 * side, 0.43, side * 0.43 * np.sin(stride)), (0.105, 0.44, 0.115), legs, (0, side * stride, 0))
        limb(ROUND, (0.29 * side, 1.12, -side * 0.1), (0.085, 0.36, 0.1), top, (0, -side * stride, side * 0.12))
    limb(ROUND, (0, 1.14, 0), (0.27, 0.38, 0.19), top)
    if rng.random() < 0.35:
        limb(TUBE, (0, 0.82, 0), (0.23, 0.26, 0.17), top)  # a coat
    limb(ROUND, (0, 1.62, 0), (0.115, 0.15, 0.125), Look("noise", skin, skin, 0.4))
    limb(ROUND, (0, 1.67, -0.025), (0.122, 0.12, 0.125), Look("bark", hair, hair, 0.6))


def tree(b: Builder, rng, pose, leaves, height, conifer=False):
    """A trunk and a crown of overlapping clumps, so that its outline is uneven at any distance."""
    bark = hsv(rng, ((0.05, 0.1), (0.15, 0.45), (0.2, 0.5)))
    look = Look("needles" if conifer else "leaves", leaves, leaves * rng.uniform(0.5, 0.9), 1.1, (2.2,) * 3)
    trunk, spread = height * rng.uniform(0.28, 0.4), height * rng.uniform(0.2, 0.28)
    b.thing(VEGETATION, pose)
    trunk_look = Look("bark", bark, bark * 0.7, 0.9, (0.8, 1.6, 0.8))
    b.part(TUBE, (0, height * 0.3, 0), (0.03 * height, height * 0.32, 0.03 * height), trunk_look)
    if conifer:
        for i in range(5):
            r = spread * (0.95 - 0.17 * i)
            b.part(ROUND, (0, height * (0.25 + 0.165 * i), 0), (r, height * 0.15, r), look)
        return
    b.part(ROUND, (0, (height + trunk) / 2, 0), (spread * 0.85, (height - trunk) * 0.45, spread * 0.85), look)
    for i in range(8):
        angle, r = i * 2.4 + rng.uniform(-0.4, 0.4), spread * rng.uniform(0.38, 0.62)
        up = trunk + (height - trunk) * (0.2 + 0.085 * i)
        out = spread * rng.uniform(0.55, 0.8) * (1 - 0.05 * i)
        b.part(ROUND, (out * np.cos(angle), up, out * np.sin(angle)), (r, r * rng.uniform(0.6, 0.9), r), look)


def bush(b: Builder, rng, pose, leaves, length, size):
    """A bush, or a hedge where length is long: a row of clumps along z."""
    look = Look("leaves", leaves, leaves * rng.uniform(0.5, 0.9), 1.0, (1.5,) * 3)
    b.thing(VEGETATION, pose)
    if length > 4 * size:
        b.part(SOLID, (0, size * 0.72, 0), (size * 0.5, size * 0.72, length / 2), look)
    for z in np.arange(-length / 2 + size / 2, length / 2, size * 1.1):
        r = size * rng.uniform(0.75, 1.05)
        b.part(ROUND, (rng.uniform(-0.15, 0.15) * size, size * rng.uniform(0.6, 0.9), z), (r * 0.8, r * 0.9, r), look)


def lamp(b: Builder, rng, pose, colour, side, wooden=False):
    """A lamp post with an arm over the road, or a wooden post with cross-arms."""
    height, r = rng.uniform(5.0, 7.5), rng.uniform(0.18, 0.25)
    look = Look("bark" if wooden else "metal", colour, colour * 0.6, 0.6, (1.0, 2.0, 1.0))
    b.thing(POLE, pose)
    b.part(TUBE, (0, height / 2, 0), (r, height / 2, r), look)
    if wooden:
        b.part(SOLID, (0, height - 0.5, 0), (1.1, 0.09, 0.09), look)
        return
    b.part(TUBE, (0, 0.45, 0), (r * 1.7, 0.45, r * 1.7), look)
    b.part(SOLID, (-side * 0.9, height - 0.08, 0), (0.95, 0.07, 0.07), look)
    b.part(SOLID, (-side * 1.9, height - 0.12, 0), (0.35, 0.09, 0.14), look)


def bollard(b: Builder, pose, colour):
    """A short thick post at the curb."""
    b.thing(POLE, pose)
    b.part(TUBE, (0, 0.5, 0), (0.11, 0.5, 0.11), Look("striped", colour, np.full(3, 0.85), 0.4, (1.0, 2.2, 1.0)))


SIGNS = (  # symbol, plate, ink
    ("ring", (0.95, 0.95, 0.93), (0.8, 0.08, 0.1)),
    ("bar", (0.8, 0.08, 0.1), (0.95, 0.95, 0.95)),
    ("arrow", (0.1, 0.25, 0.7), (0.95, 0.95, 0.95)),
    ("ring", (0.95, 0.8, 0.1), (0.1, 0.1, 0.1)),
    ("bar", (0.95, 0.75, 0.1), (0.1, 0.1, 0.1)),
)
BOARDS = (0.05, 0.2, 0.6), (0.02, 0.38, 0.2), (0.9, 0.75, 0.1)
TRIANGLE = np.array([[0, 1, 0, 0.7], [0.87, -0.5, 0, 0.55], [-0.87, -0.5, 0, 0.55], [0, 0, 1, 0.05], [0, 0, -1, 0.05]])


def sign(b: Builder, rng, pose, colour, board=False):
    """A plate on a post: a disc, a square, a diamond or a triangle; or a wide direction board on two."""
    size, up, form = rng.uniform(0.46, 0.6), rng.uniform(2.1, 2.6), int(rng.integers(4))
    name, plate, ink = SIGNS[int(rng.integers(len(SIGNS)))]
    half, posts = (size, size, 0.03), (0,)
    if board:
        half, up, posts, form = (rng.uniform(1.2, 1.7), rng.uniform(0.7, 1.0), 0.05), 3.2, (-0.8, 0.8), 0
        name, plate, ink = "text", BOARDS[int(rng.integers(len(BOARDS)))], (0.95, 0.95, 0.95)
    b.thing(POLE, pose)
    for x in posts:
        b.part(TUBE, (x, up / 2, 0.12), (0.11, up / 2 + half[1] * 0.6, 0.11), Look("metal", colour, colour))
    b.thing(SIGN, pose)
    look = Look(name, plate, ink, 0.5, None)
    if form < 2:
        b.part(SOLID, (0, up, 0), half, look, turn=(0, 0, form * np.pi / 4))
    elif form == 2:
        b.part(SOLID, (0, up, 0), np.array(half) * 1.1, look, planes=TRIANGLE * [1, 1, 1, size])
    else:
        b.part(TUBE, (0, up, 0), (size, 0.03, size), look, turn=(0, np.pi / 2, 0))


MASONRY = ("bricks", (4.0, 4.4, 4.0)), ("stones", (4.0, 3.4, 4.0)), ("panels", (8.0, 5.0, 8.0))


def barrier(b: Builder, rng, pose, label, colour, length):
    """A masonry wall with a coping, or a fence of boards or rails with posts; along z."""
    height, second = rng.uniform(1.8, 2.8), colour * rng.uniform(0.45, 0.75)
    b.thing(label, pose)
    if label == WALL:
        name, tile = MASONRY[int(rng.integers(3))]
        look, stone = Look(name, colour, second, 0.9, tile), np.clip(colour * 0.4 + 0.45, 0, 1)
        b.part(SOLID, (0, height / 2 - 0.2, 0), (0.17, height / 2 + 0.2, length / 2), look)
        b.part(SOLID, (0, height, 0), (0.27, 0.1, length / 2), Look("noise", stone, stone * 0.9, 0.5))
        return
    height *= 0.8
    name, gap = ("railing", 0.4) if rng.random() < 0.3 else ("boards", 0.6)
    look = Look(name, colour, second * gap, 0.9, (4.2, height + 0.2, 4.2))
    b.part(SOLID, (0, height / 2 - 0.1, 0), (0.035, height / 2, length / 2), look, base=0.1)
    for z in np.arange(-length / 2 + 0.1, length / 2, 2.4):
        b.part(SOLID, (0, height / 2, z), (0.09, height / 2 + 0.1, 0.09), Look("metal", colour * 0.85, second))


def block(b: Builder, rng, pose, colour, half, side):
    """A town building with storeys of windows, a shop floor, a cornice."""
    x, height, z = half
    kind = ("windows", "wide", "glass", "narrow")[int(rng.integers(4))]
    storey, bay = rng.uniform(2.9, 3.6), rng.uniform(2.2, 3.4)
    pane = hsv(rng, ((0.5, 0.65), (0.05, 0.5), (0.12, 0.5)))
    front = Look(kind, colour, pane, rng.uniform(0.5, 0.9), (bay * 4, storey * 4, bay * 4))
    b.thing(BUILDING, pose)
    b.part(SOLID, (0, height / 2 - 1, 0), (x, height / 2 + 1, z), front)
    trim = np.clip(colour * rng.uniform(0.6, 1.3), 0, 1)
    b.part(SOLID, (0, height, 0), (x + 0.25, 0.22, z + 0.05), Look("noise", trim, trim))
    if rng.random() < 0.6:
        shop = hsv(rng, ((0, 1), (0.1, 0.7), (0.2, 0.8)))
        b.part(SOLID, (-side * 0.1, 1.2, 0), (x, 2.4, z), Look("shop", shop, pane * 0.7, 0.9, (9.0, 3.6, 9.0)))


def house(b: Builder, rng, pose, colour, half):
    """A family house with a gabled roof."""
    x, height, z = half
    wall = ("windows", "wide")[int(rng.integers(2))]
    pane, roof = hsv(rng, ((0.5, 0.65), (0, 0.4), (0.1, 0.45))), hsv(rng, ((0, 0.08), (0.05, 0.6), (0.2, 0.6)))
    b.thing(BUILDING, pose)
    b.part(SOLID, (0, height / 2 - 1, 0), (x, height / 2 + 1, z), Look(wall, colour, pane, 0.8, (11.0, 11.2, 11.0)))
    rise, over = rng.uniform(1.8, 3.2), 0.4
    slope = np.array([rise, -(x + over)]) / np.hypot(rise, x + over)
    planes = [[s * slope[0], slope[1], 0, -slope[1] * rise / 2] for s in (1, -1)] + [[0, 1, 0, rise / 2]]
    planes += [[0, 0, s, z + over] for s in (1, -1)]
    look = Look("tiles", roof, roof * 0.6, 0.9, (2.5,) * 3)
    b.part(SOLID, (0, height + rise / 2, 0), (x + over, rise / 2, z + over), look, planes=np.array(planes))
