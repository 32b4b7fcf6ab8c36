"""The road as a surface, and the things along it.

The world goes on without end in plots of land, each drawn from its own seed: asking for more frames only
adds plots far ahead. World axes: x right, y down, z along the road; heights are -y.
"""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from . import things
from .motion import SECONDS, Mover, drive
from .style import PLOT, START, draw, pick, vary
from .things import FENCE, WALL, Builder, rotation

STEP, BAND, FIRST = 0.5, 0.05, START - 64  # metres: spacing of tables along and across the road, z of their start


class Road:
    """The ground as a surface: height above datum at every (x, z), piecewise linear between table entries."""

    def __init__(self, style: SimpleNamespace, z_max: float):
        z = np.arange(FIRST, z_max, STEP)
        waves = [
            [a * np.sin(2 * np.pi * z / length + phase) for a, length, phase in w] for w in (style.bends, style.hills)
        ]
        self._x, self._y = (np.sum(w, axis=0) for w in waves)
        self._turn, self._rise = np.gradient(self._x, STEP), np.gradient(self._y, STEP)
        self.half_width, d = style.half_width, np.arange(-100, 100 + BAND, BAND)
        self._profile = np.where(d < 0, self._side(-d, style.sides[0]), self._side(d, style.sides[1]))

    def _side(self, d, side):
        flat = side.frontage if side.raised else self.half_width + 0.5
        bank = np.clip(side.slope * np.maximum(d - flat, 0), -2.5, 5.0)
        return 0.15 * (d > self.half_width + 0.02) * side.raised - 0.02 * np.minimum(d, self.half_width) + bank

    def centre(self, z):
        """x of the road's centre line at z."""
        return _look_up(self._x, (z - FIRST) / STEP)

    def height(self, x, z):
        """Height of the ground (road, sidewalk or terrain) in metres, up positive; broadcasts."""
        across = _look_up(self._profile, (x - self.centre(z) + 100) / BAND)
        return _look_up(self._y, (z - FIRST) / STEP) + across

    def heading(self, z):
        """Angle of the road to the z axis, to the right positive, radians."""
        return np.arctan(_look_up(self._turn, (z - FIRST) / STEP))

    def pitch(self, z):
        """Angle of the road to the horizontal, up positive, radians."""
        return np.arctan(_look_up(self._rise, (z - FIRST) / STEP))

    def frame(self, d: float, z: float, yaw: float = 0.0, sloped: bool = False) -> np.ndarray:
        """World pose of an object on the ground, d metres right of the centre line. (4, 4)"""
        x, pose = self.centre(z) + d, np.eye(4)
        pose[:3, :3] = rotation(self.heading(z) + yaw, self.pitch(z) * np.cos(yaw) if sloped else 0.0)
        pose[:3, 3] = x, -self.height(x, z), z
        return pose


def _look_up(table, position):
    position = np.minimum(np.maximum(position, 0), len(table) - 1.001)
    index = np.asarray(position, np.int64)
    low = table[index]
    return low + (position - index) * (table[index + 1] - low)


@dataclass(frozen=True)
class World:
    """Road, style, parts (one array per property, a row per part) and who moves, by instance id."""

    style: SimpleNamespace
    road: Road
    parts: dict[str, np.ndarray]
    movers: dict[int, Mover]
    count: int


def make_world(style: SimpleNamespace, z_max: float, z_cars: float) -> World:
    """Build land and things up to z_max, and oncoming cars that start from as far as z_cars."""
    last = max(z_max, z_cars / 1.6)
    road, b, lane = Road(style, max(z_max, z_cars) + 320), Builder(), style.lane_width
    if style.lead:
        things.car(b, draw(*style.key, 3), None, Mover("lead", lane * (style.lanes - 0.5), style.lead, 0.0))
    elif style.stop_at is not None:  # some people cross where the camera waits
        halt = drive(style, 90)[min(int((style.stop_at + 0.5) / SECONDS), 89)]
        for k in range(3):
            start = -2.0 - 1.5 * k - max(style.stop_at, 0) * 1.2
            things.person(b, draw(*style.key, 5, k), None, Mover("cross", start, halt + 6.5 + 1.2 * k, 1.2 + 0.1 * k))
    for j in range(int(np.ceil((last - style.start) / PLOT))):
        z, rng = style.start + PLOT * j, draw(*style.key, 2, j)
        if z > 0 and rng.random() < style.traffic:  # one speed for all, so that nobody drives through another
            speed, d = style.speed * (1.15 if style.lanes == 2 else 1.0), -lane * (rng.integers(style.lanes) + 0.5)
            things.car(b, rng, None, Mover("lane", d, z * 1.6 + rng.uniform(0, 12), -speed), oncoming=True)
        if style.lanes == 2 and rng.random() < 0.3:
            things.car(b, rng, None, Mover("lane", lane * 0.5, z * 1.3 + rng.uniform(0, 8), style.speed * 1.1))
        for side in (-1, 1):
            _Plot(b, draw(*style.key, 4, j, side + 1), style, road, z, side).fill()
    return World(style, road, b.arrays(), b.movers, b.count)


class _Plot:
    """PLOT metres of land on one side of the road (-1 left, 1 right), filled with what belongs there."""

    def __init__(self, b, rng, style, road, z, side):
        self.b, self.rng, self.style, self.road, self.z, self.side = b, rng, style, road, z, side
        self.front = style.sides[side > 0].frontage

    def at(self, d, along, yaw=0.0, sloped=False):
        """Pose d metres from the road's centre, `along` metres into the plot."""
        return self.road.frame(self.side * d, self.z + along, yaw, sloped)

    def fill(self):
        {"downtown": self.town, "suburban": self.suburb, "open": self.country}[self.style.kind]()
        self.furnish()
        self.people()
        chance = {"downtown": 0.7, "suburban": 0.55, "open": 0.25}[self.style.kind] * self.style.parking
        for along in (3, 9, 15):
            if self.rng.random() < chance:
                pose = self.at(self.style.half_width - 1.1, along, 0.0 if self.side > 0 else np.pi, sloped=True)
                things.car(self.b, self.rng, pose, oncoming=self.side < 0)

    def town(self):
        rng, front = self.rng, self.front + self.rng.uniform(0.0, 0.8)
        if rng.random() < 0.78:
            half = (rng.uniform(5, 8), rng.uniform(8, 24), PLOT / 2 - rng.uniform(0, 0.6))
            colour = vary(rng, pick(rng, self.style.buildings))
            things.block(self.b, rng, self.at(front + half[0], PLOT / 2), colour, half, self.side)
        else:
            self.boundary(front + 0.3)
            self.trees(3, front + 4, front + 16, (6, 11))
        self.trees(int(rng.random() < 0.55), self.style.half_width + 0.9, self.style.half_width + 1.1, (5, 8))

    def suburb(self):
        rng, front = self.rng, self.front
        self.boundary(front + 0.4)
        if rng.random() < 0.75:
            self.house(front + rng.uniform(3.5, 7), rng.uniform(-0.08, 0.08))
        else:
            self.trees(2, front + 5, front + 14, (6, 12))
        self.trees(int(rng.integers(0, 3)), front + 1.8, front + 4, (4, 8))
        self.trees(2, front + 17, front + 26, (8, 13))
        self.bushes(int(rng.integers(0, 4)), front + 1.5, front + 5)

    def country(self):
        rng, front = self.rng, self.front + 0.6
        if rng.random() < 0.75:
            self.boundary(front + 0.5)
        if rng.random() < 0.18:
            self.house(front + rng.uniform(6, 14), rng.uniform(-0.3, 0.3))
        self.trees(int(rng.integers(0, 4)), front + 2.0, front + 12, (5, 12))
        self.trees(int(rng.integers(1, 3)), front + 25, front + 55, (9, 16))
        self.bushes(int(rng.integers(0, 3)), front + 1.5, front + 6)

    def house(self, d, yaw):
        half = (self.rng.uniform(4, 5.5), self.rng.uniform(3.2, 6.2), self.rng.uniform(4.5, 7))
        colour = vary(self.rng, pick(self.rng, self.style.buildings))
        things.house(self.b, self.rng, self.at(d + half[0], PLOT / 2, yaw), colour, half)

    def boundary(self, d):
        """A wall, fence or hedge along the frontage, or nothing."""
        appetite, rng, pose = np.cumsum(self.style.barriers), self.rng, self.at(d, PLOT / 2, sloped=True)
        kind = int(np.searchsorted(appetite, rng.random() * appetite[-1]))
        if kind < 2:
            label, name = ((WALL, "wall"), (FENCE, "fence"))[kind]
            things.barrier(self.b, rng, pose, label, vary(rng, self.style.colours[name]), PLOT)
        elif kind == 2:
            things.bush(self.b, rng, pose, self.leaves(), PLOT * rng.uniform(0.6, 0.95), rng.uniform(0.8, 1.3))

    def leaves(self):
        return vary(self.rng, pick(self.rng, self.style.foliage), 0.2)

    def trees(self, count, near, far, tall):
        for _ in range(count):
            pose = self.at(self.rng.uniform(near, far), self.rng.uniform(1, PLOT - 1), self.rng.uniform(0, 6.28))
            things.tree(self.b, self.rng, pose, self.leaves(), self.rng.uniform(*tall), self.rng.random() < 0.2)

    def bushes(self, count, near, far):
        for _ in range(count):
            pose = self.at(self.rng.uniform(near, far), self.rng.uniform(1, PLOT - 1))
            things.bush(self.b, self.rng, pose, self.leaves(), self.rng.uniform(1, 2.5), self.rng.uniform(0.6, 1.2))

    def furnish(self):
        """Lamp posts, signs and bollards at the curb."""
        b, rng, s, d = self.b, self.rng, self.style, self.style.half_width + 0.55
        colour, wooden = vary(rng, s.colours["pole"], 0.2), s.kind != "downtown" and s.sway[0] > 3
        if rng.random() < 0.75:
            things.lamp(b, rng, self.at(d, rng.uniform(2, 6)), colour, self.side, wooden)
        yaw = (0.0 if self.side > 0 else np.pi) + rng.uniform(-0.15, 0.15)
        if rng.random() < 0.65:
            things.sign(b, rng, self.at(d, rng.uniform(8, 14), yaw), colour, board=rng.random() < 0.2)
        if s.kind == "downtown" and rng.random() < 0.3:
            for k in range(4):
                things.bollard(b, self.at(d, 14.5 + k), colour)

    def people(self):
        """People who stand or walk beside the road."""
        rng, near = self.rng, self.style.half_width + 0.9
        mean = {"downtown": 3.2, "suburban": 2.6, "open": 2.2}[self.style.kind]
        for _ in range(int(rng.random() * 2 * mean + 0.5)):
            d, along = rng.uniform(near, max(self.front - 0.3, near + 0.4)), rng.uniform(0, PLOT)
            if rng.random() < 0.55:
                speed = rng.uniform(0.9, 1.7) * pick(rng, (-1, 1))
                things.person(self.b, rng, None, Mover("lane", self.side * d, self.z + along, speed))
            else:
                things.person(self.b, rng, self.at(d, along, rng.uniform(0, 6.28)))
