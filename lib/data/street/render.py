"""From hits to pictures: surface patterns, sun, shadows, fog, sky, antialiasing."""

from types import SimpleNamespace

import cv2
import numpy as np

from . import textures
from .cast import GROUND, cast, pose_parts
from .style import draw
from .things import BUILDING, CAR, ROAD, ROUND, SIDEWALK, SIGN, SKY, SOLID, TERRAIN, TUBE

SUBSAMPLES = np.array([[-0.375, -0.125], [0.125, -0.375], [0.375, 0.125], [-0.125, 0.375]])  # of an edge pixel
SHADOW_TEXEL, SHADOW_REACH = 0.2, 45.0  # metres
_BALL = np.array([[x, y, z] for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1) if x or y or z], float)
_BALL /= np.linalg.norm(_BALL, axis=1, keepdims=True)
_BOX = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
_STRIPS = {"road": 0, "curb": 1, "sidewalk": 2, "terrain": 3}
_STRIP_LABELS = np.array([ROAD, SIDEWALK, SIDEWALK, TERRAIN])


def render(world, poses, world_from_camera, intrinsics, size: tuple[int, int], frame: int) -> tuple[np.ndarray, ...]:
    """One frame: image uint8 (H, W, 3); depth float32, labels uint8, instances uint16 (H, W).

    Args:
        poses: world_from_instance at this frame. (I+1, 4, 4)
        world_from_camera: (4, 4); intrinsics in pixels: (3, 3); size: height, width.
        frame: its number, which seeds the sensor noise.
    """
    height, width = size
    view = SimpleNamespace(world_from_camera=world_from_camera, focal=intrinsics[0, 0])
    parts = pose_parts(world, poses, world_from_camera, intrinsics, size)
    v, u = np.mgrid[:height, :width].reshape(2, -1)
    where = np.arange(height * width).reshape(size)
    rays = _rays(u, v, intrinsics)
    depth, part = cast(world, view, parts, rays, where)
    shadows = _shadow_maps(world, view, parts)
    colour, labels = _shade(world, view, parts, shadows, rays, depth, part)
    instances = np.where(part >= 0, world.parts["instance"][parts.index[np.maximum(part, 0)]], 0)
    depth, labels, instances = (a.reshape(size) for a in (depth, labels, instances))
    edges = np.flatnonzero(_edges(depth, labels, instances))
    if len(edges):  # only there does one ray miss what the pixel covers
        where = np.full(size, -1)
        where.ravel()[edges] = np.arange(len(edges))
        fine = (u[edges, None] + SUBSAMPLES[:, 0]).ravel(), (v[edges, None] + SUBSAMPLES[:, 1]).ravel()
        fine = _rays(*fine, intrinsics)
        hits = cast(world, view, parts, fine, where, len(SUBSAMPLES))
        mixed, _ = _shade(world, view, parts, shadows, fine, *hits)
        colour[edges] = mixed.reshape(len(edges), -1, 3).mean(1)
    image = _develop(world.style, colour.reshape(height, width, 3), frame)
    return image, depth.astype(np.float32), labels.astype(np.uint8), instances.astype(np.uint16)


def _rays(u, v, intrinsics):
    (fx, _, cx), (_, fy, cy), _ = intrinsics
    return np.stack([(u - cx) / fx, (v - cy) / fy, np.ones(len(u))], 1)


def _edges(depth, labels, instances):
    """Pixels where a neighbour belongs to another thing or lies at another depth."""
    key, inverse = labels.astype(np.int64) * 65536 + instances, 1 / depth
    edge = np.zeros(depth.shape, bool)
    for a, b in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differ = (key[a] != key[b]) | (abs(inverse[a] - inverse[b]) > 0.12 * np.maximum(inverse[a], inverse[b]))
        edge[a] |= differ
        edge[b] |= differ
    return edge


def _develop(style, colour, frame):
    """Exposure, white balance and a little sensor noise."""
    noise = draw(*style.key, 6, frame).random((*colour.shape[:2], 1), np.float32) - 0.5
    picture = np.maximum(colour, 0) ** 0.9 * (style.exposure * style.balance).astype(np.float32) + noise * (5 / 255)
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)


def _shade(world, view, parts, shadows, rays, depth, part):
    """Colours (N, 3) float32 and labels (N,) of hits."""
    style = world.style
    directions = rays @ view.world_from_camera[:3, :3].T
    labels, colour = np.full(len(rays), SKY), _sky(style, directions)
    on_part, on_ground = np.flatnonzero(part >= 0), np.flatnonzero(part == GROUND)
    seen = np.concatenate([on_part, on_ground])
    width, points = depth[seen] / view.focal, view.world_from_camera[:3, 3] + directions[seen] * depth[seen, None]
    split = len(on_part)
    above = _part_surface(world, parts, part[on_part], points[:split])
    below = _ground_surface(world, points[split:], width[split:])
    surface = SimpleNamespace(**{name: np.concatenate([above[name], below[name]]) for name in above})
    level = -world.road.height(points[:, 0], points[:, 2])
    shade = _shadow(shadows, 1, style, points, level) * (surface.label != BUILDING)  # their own sides are shaded
    shade[split:] = np.maximum(shade[split:], _shadow(shadows, 0, style, points[split:], level[split:]))
    lit = _light(style, surface, shade, directions[seen], width)
    fog = np.exp(-style.fog * depth[seen])[:, None].astype(np.float32)
    colour[seen] = lit * fog + style.horizon.astype(np.float32) * (1 - fog)
    labels[seen] = surface.label
    return colour, labels


def _light(style, surface, shade, directions, width):
    """Pattern times colour times light; the pattern is filtered to the pixel's width on the surface."""
    facing = -np.einsum("ni,ni->n", surface.normal, directions) / np.linalg.norm(directions, axis=1)
    width = width / np.sqrt(np.clip(facing, 0.04, 1))  # between the footprint's short and long axis
    noise, n = textures.atlas()[0]["noise"], len(width)
    u, v = np.concatenate([surface.uv, surface.metres / 9.7, surface.metres / 1.3]).T
    footprint = np.concatenate([width / surface.tile, width / 9.7, width / 1.3])
    texels = textures.sample(np.r_[surface.texture, np.full(2 * n, noise)], u, v, footprint)
    tone, mask = texels[:n, 0], texels[:n, 1:]
    albedo = surface.colour * (1 - mask) + surface.second * mask
    rough = 0.3 * (texels[n : 2 * n, 0] - 0.5) + 0.35 * (texels[2 * n :, 0] - 0.5)
    rough *= np.where(surface.label == CAR, 0.3, 1)  # paint is smooth
    albedo = albedo * (1 + (1.5 * surface.contrast * (tone - 0.5) + rough))[:, None]
    sun = np.clip(surface.normal @ style.to_sun, 0, 1) * (1 - shade)
    sky = 0.78 - 0.22 * surface.normal[:, 1] - 0.12 * shade  # less of it reaches what faces down
    light = style.ambient * sky[:, None] + style.sun * sun[:, None]
    light[surface.label == SIGN] = 1  # signs throw light back: bright from any side
    return (albedo * light).astype(np.float32)


def _sky(style, directions):
    """Gradient with clouds on a plane far above, fixed to the world."""
    up = -directions[:, 1] / np.linalg.norm(directions, axis=1)
    blend = np.clip(up * 2.2, 0, 1)[:, None] ** 0.7
    colour = style.horizon * (1 - blend) + style.zenith * blend
    flat = directions[:, [0, 2]] / np.maximum(-directions[:, 1:2], 0.03)
    noise = np.full(len(up), textures.atlas()[0]["noise"])
    clouds = textures.sample(noise, flat[:, 0] / 11, flat[:, 1] / 16, np.full(len(up), 0.008))[:, 0]
    cover = np.clip((clouds - 0.95 + 0.7 * style.clouds) * 3, 0, 1) * np.clip(up * 8, 0, 1) * style.clouds
    white = np.clip(style.horizon * 1.08 + 0.04, 0, 1) * (1 - 0.35 * np.clip(clouds - 0.55, 0, 1))[:, None]
    glow = np.clip(directions @ style.to_sun / np.linalg.norm(directions, axis=1), 0, 1)[:, None] ** 24
    return (colour + cover[:, None] * (white - colour) + 0.35 * glow * style.sun).astype(np.float32)


def _part_surface(world, parts, k, points):
    """Normal, pattern and colours where rays hit rows k of the parts; uv in tiles along the face's axes."""
    p, index, n = world.parts, parts.index[k], np.arange(len(k))
    local = np.einsum("nji,nj->ni", parts.turn[k], points - parts.centre[k])
    shape, half, planes = parts.shape[k], parts.half[k], p["planes"][index]
    unit = local / half
    curved = unit / half
    curved[:, 1] *= shape == ROUND
    cap = (shape == TUBE) & (abs(unit[:, 1]) > 0.9999)
    curved[cap] = np.sign(unit[cap]) * [0, 1, 0]
    slack = np.einsum("nfi,ni->nf", planes[..., :3], local) - planes[..., 3]
    normal = np.where((shape == SOLID)[:, None], planes[n, slack.argmax(1), :3], curved)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    face = np.array([[2, 1], [0, 2], [0, 1]])[abs(normal).argmax(1)]  # the coordinates that span it
    tile, n = p["tile"][index], n[:, None]
    surface = {name: p[name][index] for name in ("texture", "colour", "second", "contrast", "label")}
    return surface | {
        "normal": np.einsum("nij,nj->ni", parts.turn[k], normal),
        "uv": (local / tile + p["offset"][index])[n, face],
        "metres": local[n, face] + (index * 0.377)[:, None],
        "tile": np.sqrt(tile[n, face].prod(1)),
    }


def _ground_surface(world, points, width):
    """Road with its marks, curbs, sidewalks and terrain, by the distance from the centre line."""
    style, road, c = world.style, world.road, world.style.colours
    x, z = points[:, 0], points[:, 2]
    d = x - road.centre(z)
    strip = np.zeros(len(d), np.int64)
    for sign, side in zip((-1, 1), style.sides):
        beyond = sign * d > style.half_width + 0.01
        which = np.searchsorted([end for end, _ in side.strips], sign * d[beyond])
        strip[beyond] = np.array([_STRIPS[kind] for _, kind in side.strips])[which]
    slab = {"slabs": 4.0, "pavers": 3.2, "panels": 6.0}[style.paving]
    table = (  # a row per strip: pattern, colour, second colour, contrast, tile in metres
        ("asphalt", c["road"], c["road"] * 0.88, 0.45, 4.0),
        ("noise", np.clip(c["sidewalk"] * 1.13, 0, 1), c["sidewalk"], 0.5, 2.0),
        (style.paving, c["sidewalk"], c["sidewalk"] * 0.6, 0.7, slab),
        (style.ground, c["terrain"], c["terrain"] * [1.1, 0.85, 0.7], 0.9, 3.0),
    )
    patterns, *rest = zip(*table)
    colour, second, contrast, tile = (np.array(column)[strip] for column in rest)
    marks = (_marks(style, d, z, width) * (strip == 0))[:, None]
    across = (road.height(x + 0.05, z) - road.height(x - 0.05, z)) / 0.1
    along = road.height(x, z + 0.5) - road.height(x, z - 0.5)
    normal, metres = np.stack([-across, -np.ones(len(d)), -along], 1), np.stack([d, z], 1)
    return {
        "texture": np.array([textures.atlas()[0][name] for name in patterns])[strip],
        "colour": colour * (1 - marks) + style.mark_colour * marks,
        "second": second,
        "contrast": contrast,
        "label": _STRIP_LABELS[strip],
        "normal": normal / np.linalg.norm(normal, axis=1, keepdims=True),
        "uv": metres / tile[:, None],
        "metres": metres,
        "tile": tile,
    }


def _marks(style, d, z, width):
    """Share of each pixel that lane paint covers: centre and lane lines, edge lines, a zebra crossing."""

    def band(x, low, high, w):
        return np.clip(np.minimum(high, x + w / 2) - np.maximum(low, x - w / 2), 0, None) / w

    if not style.marks:
        return np.zeros(len(d))
    long, side, lane = np.minimum(width * 4, 8.0), abs(d), style.lane_width  # a pixel is longer along the road
    dashes = band(z % 9.0, 0, 4.0, long)
    paint = band(d, -0.08, 0.08, width) * (dashes if style.lanes == 1 else 1)
    paint += band(side, style.lanes * lane - 0.07, style.lanes * lane + 0.07, width)
    if style.lanes == 2:
        paint += band(side, lane - 0.07, lane + 0.07, width) * dashes
    bars = band(d % 1.1, 0.3, 0.85, width) * (side < style.half_width - 0.4)
    return np.clip(paint + band((z + 11 * style.sway[1]) % 70.0, 30.0, 33.5, long) * bars, 0, 1) * 0.9


def _shadow_maps(world, view, parts):
    """Shadows on the ground around the camera: of everything but buildings, and of buildings."""
    style, road, camera = world.style, world.road, view.world_from_camera[:3, 3]
    cells = int(2 * SHADOW_REACH / SHADOW_TEXEL)
    corner = np.floor((camera[[0, 2]] + [-SHADOW_REACH, -15.0]) / SHADOW_TEXEL) * SHADOW_TEXEL
    maps = np.zeros((2, cells, cells), np.uint8)
    near = np.flatnonzero(np.linalg.norm((parts.centre - camera)[:, [0, 2]], axis=1) < SHADOW_REACH + 25)
    ground = -road.height(parts.centre[near, 0], parts.centre[near, 2])
    big = world.parts["label"][parts.index[near]] == BUILDING
    for k, level, layer in zip(near, ground, big.astype(int)):
        corners = _BOX if parts.shape[k] == SOLID else _BALL
        points = (corners * parts.half[k]) @ parts.turn[k].T + parts.centre[k]
        pixel = (_foot(style, points, level) - corner) / SHADOW_TEXEL * 16  # 4 binary places
        cv2.fillConvexPoly(maps[layer], cv2.convexHull(pixel.astype(np.int32)), 255, cv2.LINE_8, 4)
    return SimpleNamespace(maps=[cv2.blur(m, (3, 3)) for m in maps], corner=corner)


def _foot(style, points, level):
    """x and z where the sunlight through each point meets the ground, at height `level`. (N, 2)"""
    up = np.maximum(level - points[:, 1], 0)[:, None]
    return points[:, [0, 2]] + up * style.to_sun[[0, 2]] / style.to_sun[1]


def _shadow(shadows, layer, style, points, level):
    """How much of the sun is hidden at points, 0 to 1."""
    shadow, position = shadows.maps[layer], (_foot(style, points, level) - shadows.corner) / SHADOW_TEXEL - 0.5
    x, y = np.clip(position, 0, len(shadow) - 1.001).T
    x0, y0 = x.astype(np.int64), y.astype(np.int64)
    fx, fy = x - x0, y - y0
    upper = shadow[y0, x0] * (1 - fx) + shadow[y0, x0 + 1] * fx
    return (upper * (1 - fy) + (shadow[y0 + 1, x0] * (1 - fx) + shadow[y0 + 1, x0 + 1] * fx) * fy) / 255
