"""Ray casting: what each ray of a frame hits first, and how far away.

Rays are camera-frame directions with z = 1, so the distance along a ray is the depth. Each part is tested
only against rays inside its window on the screen; all (part, ray) pairs are then one array operation.
"""

from types import SimpleNamespace

import numpy as np

from .things import ROUND, SOLID

NEAR, FAR = 0.2, 160.0  # metres: parts are drawn between these depths
GROUND, NOTHING = -1, -2
_CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
_EDGES = np.array([(a, b) for a in range(8) for b in range(8) if a < b and (_CORNERS[a] != _CORNERS[b]).sum() == 1])


def pose_parts(
    world, poses: np.ndarray, world_from_camera: np.ndarray, intrinsics: np.ndarray, size: tuple[int, int]
) -> SimpleNamespace:
    """Parts in the camera frame at one instant, those on the screen only, with their windows.

    Args:
        poses: world_from_instance of the frame. (I+1, 4, 4)
        size: height and width of the picture in pixels.

    Returns:
        `index` of each part in world.parts, `centre` and `turn` (world), `normals` and `reach` (planes, camera
        frame), `from_camera` and `origin` (the camera in unit coordinates), `windows` (y0, y1, x0, x1).
    """
    p, camera = world.parts, world_from_camera[:3, 3]
    pose = poses[p["instance"]]
    centre = np.einsum("kij,kj->ki", pose[:, :3, :3], p["centre"]) + pose[:, :3, 3]
    reach = np.linalg.norm(p["half"], axis=1)
    near = (centre - camera) @ world_from_camera[:3, 2]
    keep = np.flatnonzero((near + reach > NEAR) & (near - reach < FAR))
    centre, half = centre[keep], p["half"][keep]
    turn = pose[keep, :3, :3] @ p["turn"][keep]
    to_camera = world_from_camera[:3, :3].T @ turn  # camera_from_part
    middle = (centre - camera) @ world_from_camera[:3, :3]
    windows = _windows(middle, to_camera, half, intrinsics, size)
    seen = np.flatnonzero((windows[:, 1] > windows[:, 0]) & (windows[:, 3] > windows[:, 2]))
    keep, centre, turn, half, to_camera, middle = (a[seen] for a in (keep, centre, turn, half, to_camera, middle))
    planes = p["planes"][keep]
    normals = np.einsum("kij,kfj->kfi", to_camera, planes[..., :3])
    from_camera = to_camera.transpose(0, 2, 1) / half[:, :, None]  # unit coordinates
    return SimpleNamespace(
        index=keep,
        centre=centre,
        turn=turn,
        half=half,
        shape=p["shape"][keep],
        normals=normals,
        reach=planes[..., 3] + np.einsum("kfi,ki->kf", normals, middle),
        from_camera=from_camera,
        origin=-np.einsum("kij,kj->ki", from_camera, middle),
        windows=windows[seen],
    )


def _windows(middle, to_camera, half, intrinsics, size):
    """Pixel windows around the parts' boxes, cut at the near plane: y0, y1, x0, x1. (K, 4)"""
    corners = middle[:, None] + np.einsum("kij,kcj->kci", to_camera, _CORNERS * half[:, None])
    a, b = corners[:, _EDGES[:, 0]], corners[:, _EDGES[:, 1]]
    with np.errstate(divide="ignore", invalid="ignore"):
        cut = np.clip((NEAR - a[..., 2]) / (b[..., 2] - a[..., 2]), 0, 1)[..., None]
    cut = a + np.nan_to_num(cut) * (b - a)
    points = np.concatenate([corners, cut], axis=1)
    behind = points[..., 2] < NEAR - 1e-6
    z = np.maximum(points[..., 2], NEAR)
    out = []
    for axis, length in ((1, size[0]), (0, size[1])):
        pixel = intrinsics[axis, axis] * points[..., axis] / z + intrinsics[axis, 2]
        low, high = np.where(behind, np.inf, pixel).min(1), np.where(behind, -np.inf, pixel).max(1)
        out += [np.clip(np.floor(low - 0.5), 0, length), np.clip(np.ceil(high + 1.5), 0, length)]
    return np.nan_to_num(np.stack(out, 1)).astype(np.int64)


def cast(world, view: SimpleNamespace, parts: SimpleNamespace, rays: np.ndarray, where: np.ndarray, repeat: int = 1):
    """First hit of each ray.

    Args:
        rays: directions in the camera frame, z = 1; ray i * repeat + j is the j-th of place i. (N, 3)
        where: place of each pixel, -1 where no ray is asked for. (H, W)
        repeat: rays per place.

    Returns:
        depth (N,), inf for sky; part (N,): row in `parts`, or GROUND, or NOTHING.
    """
    depth = cast_ground(world.road, view.world_from_camera, rays)
    part = np.where(np.isfinite(depth), GROUND, NOTHING)
    for solid in (True, False):
        chosen = np.flatnonzero((parts.shape == SOLID) == solid)
        places, counts = [], []
        for y0, y1, x0, x1 in parts.windows[chosen]:
            window = where[y0:y1, x0:x1].ravel()
            window = window[window >= 0]
            places.append(window)
            counts.append(len(window))
        if not sum(counts):
            continue
        owner = np.repeat(chosen, np.array(counts) * repeat)
        ray = (np.concatenate(places)[:, None] * repeat + np.arange(repeat)).ravel()
        t = (_hit_solids if solid else _hit_rounds)(parts, owner, ray, rays, depth)
        hit = np.flatnonzero(t < depth[ray])
        order = hit[np.argsort(-t[hit], kind="stable")]  # of equal indices the last assignment stays: the nearest
        depth[ray[order]], part[ray[order]] = t[order], owner[order]
    return depth, part


def _hit_solids(parts, owner, ray, rays, depth):
    enter, leave = np.full(len(owner), NEAR), depth[ray]
    x, y = rays[ray, 0], rays[ray, 1]
    for f in range(parts.normals.shape[1]):
        n = parts.normals[:, f]
        some = np.flatnonzero((n != 0).any(1)[owner]) if f >= 6 else slice(None)  # few have more faces than a box
        k = owner[some]
        along = n[k, 0] * x[some] + n[k, 1] * y[some] + n[k, 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            t = parts.reach[k, f] / along
        enter[some] = np.where(along < 0, np.fmax(enter[some], t), enter[some])
        leave[some] = np.where(along > 0, np.fmin(leave[some], t), leave[some])
    return np.where((enter < leave) & (enter > NEAR), enter, np.inf)


def _hit_rounds(parts, owner, ray, rays, depth):
    m, o = parts.from_camera, parts.origin
    x, y = rays[ray, 0], rays[ray, 1]
    dx, dy, dz = (m[owner, i, 0] * x + m[owner, i, 1] * y + m[owner, i, 2] for i in range(3))
    round_y = (parts.shape == ROUND).astype(float)[owner]  # a cylinder ignores y but is cut at y = -1 and 1
    ox, oy, oz = (o[owner, i] for i in range(3))
    a = dx * dx + dz * dz + round_y * dy * dy
    b = dx * ox + dz * oz + round_y * dy * oy
    c = ox * ox + oz * oz + round_y * oy * oy - 1
    root = np.sqrt(np.maximum(b * b - a * c, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        cap0, cap1 = (-1 - oy) / dy, (1 - oy) / dy
        enter = np.fmax((-b - root) / a, np.fmin(cap0, cap1))
        leave = np.fmin((-b + root) / a, np.fmax(cap0, cap1))
    return np.where((b * b > a * c) & (enter < leave) & (enter > NEAR), enter, np.inf)


def cast_ground(road, world_from_camera: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """Depth of the ground along each ray, inf where it meets none within 300 m. (N,)

    Steps outwards until the ray is below the ground, then halves the step: exact on the piecewise linear
    surface, hills hide what is behind them.
    """
    world = rays @ world_from_camera[:3, :3].T
    x0, y0, z0 = world_from_camera[:3, 3]
    depth, before = np.full((2, len(rays)), np.inf)
    active = np.flatnonzero(world[:, 1] > -0.3)  # no bank rises steeper than this
    low = np.full(len(active), 0.3 * abs(y0 + road.height(x0, z0)))
    dx, dy, dz = world[active].T.copy()
    while len(active):
        high = low * 1.16 + 0.1
        under = road.height(x0 + high * dx, z0 + high * dz) > -(y0 + high * dy)
        depth[active[under]], before[active[under]] = high[under], low[under]
        keep = np.flatnonzero(~under & (high < 300))
        active, dx, dy, dz, low = active[keep], dx[keep], dy[keep], dz[keep], high[keep]
    hit = np.flatnonzero(np.isfinite(depth))
    depth[hit] = _refine(road, (x0, y0, z0), world[hit].T, before[hit], depth[hit])
    return depth


def _refine(road, start, step, low, high):
    def gap(t):
        return road.height(start[0] + t * step[0], start[2] + t * step[2]) + (start[1] + t * step[1])

    for _ in range(9):
        middle = (low + high) / 2
        under = gap(middle) > 0
        low, high = np.where(under, low, middle), np.where(under, middle, high)
    a, b = gap(low), gap(high)
    return low + (high - low) * np.clip(a / np.where(a == b, -1, a - b), 0, 1)
