"""The choices that hold for a whole clip: kind of street, colours, weather, how the camera drives."""

from types import SimpleNamespace

import numpy as np

from .things import hsv

SEED_VERSION, SPLITS = 2, {"train": 0, "val": 1, "test": 2}
PLOT, START = 18.0, -54.0  # metres: length of a plot of land, z of the first one at most
KINDS = ("downtown", "suburban", "open")

# fmt: off
# Ranges of (hue, saturation, value); a clip draws one alternative of each row, buildings several.
COLOURS = {
    "road": [((0.55, 0.68), (0.02, 0.1), (0.34, 0.46)), ((0, 1), (0, 0.05), (0.34, 0.48))],
    "sidewalk": [((0.03, 0.08), (0.16, 0.3), (0.62, 0.78)), ((0.08, 0.13), (0.1, 0.24), (0.68, 0.84))],
    "terrain": [((0.19, 0.26), (0.42, 0.62), (0.5, 0.64)), ((0.15, 0.21), (0.38, 0.58), (0.5, 0.66))],
    "leaves": [((0.27, 0.36), (0.4, 0.7), (0.22, 0.42)), ((0.3, 0.4), (0.35, 0.6), (0.22, 0.4))],
    "building": [((0, 0.05), (0.35, 0.58), (0.38, 0.6)), ((0.08, 0.13), (0.2, 0.42), (0.6, 0.85)),
                 ((0.01, 0.07), (0.25, 0.45), (0.5, 0.7))],
    "wall": [((0.62, 0.74), (0.1, 0.24), (0.46, 0.66)), ((0.55, 0.65), (0.06, 0.16), (0.5, 0.7))],
    "fence": [((0.05, 0.09), (0.45, 0.65), (0.28, 0.46)), ((0.06, 0.1), (0.35, 0.55), (0.4, 0.55))],
    "pole": [((0, 1), (0, 0.12), (0.1, 0.26)), ((0.35, 0.6), (0.15, 0.4), (0.14, 0.28))],
}
# fmt: on
WEATHERS = {  # sunlight, its colour, ambient, zenith sky, horizon sky, clouds, fog per metre
    "clear": (0.72, (1, 0.96, 0.88), 0.54, (0.25, 0.45, 0.8), (0.7, 0.82, 0.93), 0.35, 0.001),
    "fair": (0.6, (1, 0.95, 0.88), 0.55, (0.4, 0.58, 0.85), (0.85, 0.9, 0.95), 0.85, 0.002),
    "overcast": (0.25, (1, 1, 1), 0.76, (0.62, 0.66, 0.72), (0.84, 0.87, 0.9), 0.6, 0.002),
    "fog": (0.2, (1, 1, 1), 0.78, (0.76, 0.8, 0.84), (0.82, 0.84, 0.86), 0.1, 0.007),
    "evening": (0.65, (1, 0.82, 0.64), 0.5, (0.36, 0.46, 0.7), (0.94, 0.82, 0.72), 0.7, 0.002),
}
FREQUENCIES = ("clear", "clear", "fair", "fair", "overcast", "overcast", "fog", "evening")


def draw(*key: int) -> np.random.Generator:
    """The generator of a key; only `random`, `uniform` and `integers` are used: numpy keeps those streams."""
    return np.random.default_rng(np.random.SeedSequence([SEED_VERSION, *key]))


def pick(rng, options):
    """One of the options, all equally likely."""
    return options[int(rng.integers(len(options)))]


def vary(rng, colour, by=0.15):
    """A colour a little brighter or darker, still within [0, 1]. (3,)"""
    return np.clip(colour * rng.uniform(1 - by, 1 + by), 0, 1)


def make_style(split: str, index: int) -> SimpleNamespace:
    """All choices of a clip, by name; lengths in metres, times in seconds, colours RGB in [0, 1]."""
    rng = draw(SPLITS[split], index)
    s = SimpleNamespace(key=(SPLITS[split], index), kind=pick(rng, KINDS), start=START - rng.uniform(0, PLOT))
    s.lanes, s.lane_width = (1 if rng.random() < 0.8 else 2), rng.uniform(3.0, 3.5)  # lanes in each direction
    s.parking = rng.random() < {"downtown": 0.7, "suburban": 0.5, "open": 0.1}[s.kind]
    s.half_width = s.lanes * s.lane_width + 2.1 * s.parking + 0.3
    curve, relief, phase = rng.random(), rng.random(), rng.uniform(0, 6.28, 3)
    s.bends = [  # amplitude, wavelength, phase
        (curve * rng.uniform(3, 8), rng.uniform(170, 260), phase[0]),
        (curve * rng.uniform(0.2, 0.8), rng.uniform(70, 110), phase[1]),
    ]
    s.hills = [(relief * rng.uniform(0.8, 2.2), rng.uniform(140, 260), phase[2])]
    s.colours = {name: hsv(rng, pick(rng, rows)) for name, rows in COLOURS.items()}
    s.buildings = [hsv(rng, pick(rng, COLOURS["building"])) for _ in range(5)]
    s.foliage = [s.colours["leaves"], vary(rng, s.colours["leaves"], 0.25), hsv(rng, pick(rng, COLOURS["leaves"]))]
    s.paving, s.ground = pick(rng, ("slabs", "pavers", "panels")), pick(rng, ("grass", "grass", "soil"))
    s.sides = [_make_side(rng, s) for _ in range(2)]
    s.speed, s.sway = rng.uniform(5, 12), rng.uniform(0, 6.28, 6)
    s.stop_at, s.stop_for = (rng.uniform(-0.5, 5.0) if rng.random() < 0.3 else None), rng.uniform(1.0, 2.5)
    s.traffic, s.lead = rng.uniform(0.3, 0.8), (rng.uniform(9, 24) if rng.random() < 0.35 else None)
    s.barriers = rng.uniform(0.35, 1.0, 4) * [1.3, 1, 0.6, 0.2]  # appetite for walls, fences, hedges, nothing
    _add_light(rng, s)
    return s


def _make_side(rng, s) -> SimpleNamespace:
    """Strips beside the road, outwards: (end in metres from the centre, surface); and where plots begin."""
    raised = s.kind != "open" or rng.random() < 0.6
    d = s.half_width + 0.18
    strips = [(d, "curb")] if raised else []
    if s.kind != "downtown" and rng.random() < 0.5:
        d += rng.uniform(1.2, 2.4)
        strips.append((d, "terrain"))
    if raised:
        d += rng.uniform(*{"downtown": (3.0, 5.0), "suburban": (2.4, 3.8), "open": (2.2, 3.2)}[s.kind])
        strips.append((d, "sidewalk"))
    strips.append((1e9, "sidewalk" if s.kind == "downtown" and rng.random() < 0.7 else "terrain"))
    slope = rng.uniform(*{"downtown": (0, 0), "suburban": (-0.03, 0.08), "open": (-0.06, 0.25)}[s.kind])
    return SimpleNamespace(strips=strips, raised=raised, frontage=d, slope=slope)


def _add_light(rng, s):
    weather = pick(rng, FREQUENCIES)
    sun, sun_rgb, ambient, zenith, horizon, s.clouds, s.fog = WEATHERS[weather]
    high, around = rng.uniform(*((0.12, 0.3) if weather == "evening" else (0.45, 1.2))), rng.uniform(0, 6.28)
    s.to_sun = np.array([np.cos(high) * np.sin(around), -np.sin(high), np.cos(high) * np.cos(around)])
    s.sun, s.ambient = sun * np.array(sun_rgb), ambient * rng.uniform(0.95, 1.05, 3)
    s.zenith = np.clip(zenith * rng.uniform(0.85, 1.15, 3), 0, 1)
    s.horizon = np.clip(horizon * rng.uniform(0.92, 1.08, 3), 0, 1)
    s.exposure, s.balance = rng.uniform(0.88, 1.12), rng.uniform(0.97, 1.03, 3)
    s.marks, s.mark_colour = rng.random() < 0.85, np.array(pick(rng, ((0.9, 0.9, 0.88), (0.9, 0.75, 0.25))))
