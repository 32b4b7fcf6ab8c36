"""Laws of the pinhole camera, in float64."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from lib import camera, intrinsics
from lib.parallel import torch_generator

TINY = dict(rtol=0, atol=1e-9)


@pytest.fixture
def rng():
    return torch_generator(0, 1)


def assume(degrees, height, width):
    return torch.from_numpy(intrinsics.intrinsics_from_field_of_view(degrees, height, width))


def crop(K, top, left):
    return torch.from_numpy(intrinsics.crop_intrinsics(K.numpy(), top, left))


def make_intrinsics(height=12, width=20, batch=2):
    return assume(70.0, height, width).repeat(batch, 1, 1)


def draw_depth(rng, height=12, width=20, batch=2):
    return 1 + 40 * torch.rand(batch, height, width, generator=rng, dtype=torch.float64)


def draw_pose(rng, batch=2, size=0.7):
    axis_angle, translation = (size * torch.randn(2, batch, 3, generator=rng, dtype=torch.float64)).unbind()
    return camera.rigid_transform(axis_angle, translation)


def test_projecting_back_gives_the_pixel_grid(rng):
    depth, K = draw_depth(rng), make_intrinsics()
    pixels, z = camera.project(camera.unproject(depth, K), K)
    grid = camera.pixel_grid(12, 20, like=depth)
    torch.testing.assert_close(pixels, grid[..., :2].expand(2, -1, -1, -1), **TINY)
    torch.testing.assert_close(z, depth, **TINY)


@settings(max_examples=40, deadline=None)
@given(
    st.floats(20, 140),
    st.floats(-9, 29),
    st.floats(-5, 16),
    st.floats(0.5, 2),
    st.floats(1e-2, 1e3),
    st.integers(0, 99),
)
def test_the_round_trip_holds_for_any_pinhole(degrees, u, v, stretch, unit, seed):
    """Principal points outside the image, pixels that are not square, and all scales of depth."""
    K = make_intrinsics(batch=1).clone()
    K[0, 0, 0] = 10 / math.tan(math.radians(degrees) / 2)
    K[0, 1, 1], K[0, 0, 2], K[0, 1, 2] = stretch * K[0, 0, 0], u, v
    depth = unit * draw_depth(torch_generator(seed), batch=1)
    points = camera.unproject(depth, K)
    pixels, z = camera.project(points, K)
    torch.testing.assert_close(pixels[0], camera.pixel_grid(12, 20, like=K)[..., :2], **TINY)
    torch.testing.assert_close(z, depth, rtol=1e-12, atol=0)


def test_unproject_is_linear_in_depth_and_keeps_z(rng):
    depth, K = draw_depth(rng), make_intrinsics()
    points = camera.unproject(depth, K)
    torch.testing.assert_close(camera.unproject(3 * depth, K), 3 * points, **TINY)
    torch.testing.assert_close(points[..., 2], depth, **TINY)


def test_axes_point_right_and_down():
    points = camera.unproject(torch.ones(1, 3, 5, dtype=torch.float64), make_intrinsics(3, 5, 1))[0]
    torch.testing.assert_close(points[1, 2], torch.tensor([0.0, 0, 1], dtype=torch.float64), **TINY)
    assert points[1, 4, 0] > 0 > points[1, 0, 0]
    assert points[2, 2, 1] > 0 > points[0, 2, 1]


def test_a_plane_stays_a_plane(rng):
    """Depth of the plane n . X = 5 seen along each ray is 5 / (n . ray)."""
    K = make_intrinsics(batch=1)
    normal = torch.tensor([0.1, 0.6, 0.9], dtype=torch.float64)
    rays = camera.pixel_grid(12, 20, like=K) @ torch.linalg.inv(K[0]).T
    points = camera.unproject((5 / (rays @ normal))[None], K)
    torch.testing.assert_close(points[0] @ normal, torch.full((12, 20), 5.0, dtype=torch.float64), **TINY)


def test_a_plane_moves_by_its_homography(rng):
    """Points with n . X = d move by K' (R + t n' / d) K^-1 (Hartley and Zisserman 2004, sec. 13.1)."""
    K, other = make_intrinsics(batch=1), assume(50.0, 12, 20)[None]
    for _ in range(5):
        pose = draw_pose(rng, batch=1, size=0.1)
        normal, distance = torch.tensor([0.1, 0.6, 0.9], dtype=torch.float64), 5.0
        rays = camera.pixel_grid(12, 20, like=K) @ torch.linalg.inv(K[0]).T
        points = camera.unproject((distance / (rays @ normal))[None], K)
        pixels, z = camera.project(camera.transform(points, pose), other)
        assert (z > 0).all()
        plane = pose[0, :3, :3] + torch.outer(pose[0, :3, 3], normal) / distance
        moved = camera.pixel_grid(12, 20, like=K) @ (other[0] @ plane @ torch.linalg.inv(K[0])).T
        torch.testing.assert_close(pixels[0], moved[..., :2] / moved[..., 2:], **TINY)


def test_a_turn_moves_pixels_whatever_their_depth(rng):
    """Without translation the homography of all planes is K R K^-1: no parallax."""
    K, pose = make_intrinsics(batch=1), draw_pose(rng, batch=1, size=0.1)
    pose[:, :3, 3] = 0
    near, far = (camera.unproject(draw_depth(rng, batch=1) * factor, K) for factor in (1, 10))
    one, two = (camera.project(camera.transform(points, pose), K)[0] for points in (near, far))
    torch.testing.assert_close(one, two, **TINY)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan])
def test_depth_without_value_is_refused(bad):
    depth = torch.ones(1, 4, 4, dtype=torch.float64)
    depth[0, 1, 2] = bad
    with pytest.raises(ValueError, match="depth must be positive"):
        camera.unproject(depth, make_intrinsics(4, 4, 1))


def test_field_of_view_is_reached_at_the_edges():
    K = assume(80.0, 64, 128)
    left = torch.linalg.inv(K) @ torch.tensor([-0.5, 31.5, 1], dtype=torch.float64)  # outer edge of the first pixel
    assert math.degrees(math.atan(-left[0])) == pytest.approx(40.0)
    assert K[0, 0] == K[1, 1]


def test_rotation_equals_the_matrix_exponential(rng):
    """Rodrigues' formula against exp of the cross-product matrix, from tiny to large angles."""
    for size in (1e-9, 1e-5, 2e-3, 0.3, 2.0):
        v = size * torch.randn(4, 3, generator=rng, dtype=torch.float64)
        cross = torch.zeros(4, 3, 3, dtype=torch.float64)
        cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 2] = -v[:, 2], v[:, 1], -v[:, 0]
        cross = cross - cross.transpose(1, 2)
        torch.testing.assert_close(camera.rotation_from_axis_angle(v), torch.linalg.matrix_exp(cross), **TINY)


def test_rotation_has_a_finite_gradient_at_zero():
    v = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(camera.rotation_from_axis_angle, (v + 0.3,))
    camera.rotation_from_axis_angle(v)[0, 2, 1].backward()
    torch.testing.assert_close(v.grad, torch.tensor([[1.0, 0, 0]], dtype=torch.float64))


def test_poses_compose_and_invert(rng):
    a_from_b, b_from_c = draw_pose(rng), draw_pose(rng)
    points = torch.randn(2, 5, 7, 3, generator=rng, dtype=torch.float64)
    there = camera.transform(camera.transform(points, b_from_c), a_from_b)
    torch.testing.assert_close(there, camera.transform(points, a_from_b @ b_from_c), **TINY)
    torch.testing.assert_close(camera.transform(there, camera.invert_rigid(a_from_b @ b_from_c)), points, **TINY)
    torch.testing.assert_close(camera.invert_rigid(a_from_b), torch.linalg.inv(a_from_b), **TINY)


def test_poses_form_a_group_and_keep_distances(rng):
    a, b, c = (draw_pose(rng) for _ in range(3))
    unit = torch.eye(4, dtype=torch.float64).expand(2, 4, 4)
    torch.testing.assert_close((a @ b) @ c, a @ (b @ c), **TINY)
    torch.testing.assert_close(a @ camera.invert_rigid(a), unit, **TINY)
    torch.testing.assert_close(camera.invert_rigid(a @ b), camera.invert_rigid(b) @ camera.invert_rigid(a), **TINY)
    torch.testing.assert_close(torch.linalg.det(a[:, :3, :3]), torch.ones(2, dtype=torch.float64), **TINY)
    points = torch.randn(2, 6, 3, generator=rng, dtype=torch.float64)
    torch.testing.assert_close(torch.cdist(camera.transform(points, a), camera.transform(points, a)),
                               torch.cdist(points, points), **TINY)  # fmt: skip
    torch.testing.assert_close(camera.transform(points, unit), points, **TINY)


def test_there_and_back_through_another_camera(rng):
    """What one view sees at a depth, the other sees at the depth along its own z: lifting it there leads back."""
    K, pose = make_intrinsics(batch=1), draw_pose(rng, batch=1, size=0.1)
    depth = draw_depth(rng, batch=1) + 5
    pixels, z = camera.project(camera.transform(camera.unproject(depth, K), pose), K)
    rays = torch.cat([pixels, torch.ones_like(pixels[..., :1])], -1) @ torch.linalg.inv(K[0]).T
    back, depths = camera.project(camera.transform(rays * z[..., None], camera.invert_rigid(pose)), K)
    torch.testing.assert_close(back[0], camera.pixel_grid(12, 20, like=K)[..., :2], **TINY)
    torch.testing.assert_close(depths, depth, **TINY)


def test_sampling_at_the_grid_returns_the_image(rng):
    image = torch.rand(2, 3, 12, 20, generator=rng, dtype=torch.float64)
    grid = camera.pixel_grid(12, 20, like=image)[..., :2].expand(2, -1, -1, -1)
    torch.testing.assert_close(camera.sample(image, grid), image, **TINY)
    half = camera.sample(image, grid + torch.tensor([0.5, 0.0], dtype=torch.float64))
    torch.testing.assert_close(half[..., :-1], (image[..., :-1] + image[..., 1:]) / 2, **TINY)
    torch.testing.assert_close(half[..., -1], image[..., -1], **TINY)  # beyond the border: the border
    far = camera.sample(image, grid + 100, padding="zeros")
    assert not far.any()


def test_resized_intrinsics_see_the_same_scene(rng):
    """A pixel centre u of the small image lies at (u + 0.5) / s - 0.5 in the large one: both see the same ray."""
    large, small = (24, 40), (12, 10)
    K = make_intrinsics(*large, 1)
    resized = camera.resize_intrinsics(K, large, small)
    grid = camera.pixel_grid(*small, like=K)
    scale = torch.tensor([small[1] / large[1], small[0] / large[0]], dtype=torch.float64)
    in_large = torch.cat([(grid[..., :2] + 0.5) / scale - 0.5, grid[..., 2:]], -1)
    rays = [pixels @ torch.linalg.inv(matrix[0]).T for pixels, matrix in ((grid, resized), (in_large, K))]
    torch.testing.assert_close(*rays, **TINY)
    back = camera.resize_intrinsics(resized, small, large)
    torch.testing.assert_close(back, K, **TINY)


def test_averaging_cells_and_resized_intrinsics_agree(rng):
    """A picture whose colour is its ray's direction still is, after 2 x 2 cells were averaged."""
    K = make_intrinsics(8, 12, 1)
    rays = camera.pixel_grid(8, 12, like=K) @ torch.linalg.inv(K[0]).T
    pooled = torch.nn.functional.avg_pool2d(rays.permute(2, 0, 1)[None], 2)[0].permute(1, 2, 0)
    resized = camera.resize_intrinsics(K, (8, 12), (4, 6))[0]
    torch.testing.assert_close(pooled, camera.pixel_grid(4, 6, like=K) @ torch.linalg.inv(resized).T, **TINY)


def paint_rays(K, height, width):
    """A picture whose colour is the direction that its camera sees there. (1, 3, H, W)"""
    return (camera.pixel_grid(height, width, like=K) @ torch.linalg.inv(K).T).permute(2, 0, 1)[None]


@pytest.mark.parametrize("size", [(6, 10), (24, 40), (9, 31), (5, 40)])
def test_a_resized_image_sees_the_rays_of_resized_intrinsics(size):
    """Half-pixel centres, by any factor: the usual resize of a picture of rays is the picture of the resized camera."""
    K = assume(70.0, 12, 20)
    K[0, 2], K[1, 2] = 7.3, 6.1
    resized = camera.resize_intrinsics(K, (12, 20), size)
    image = F.interpolate(paint_rays(K, 12, 20), size=size, mode="bilinear", align_corners=False)
    torch.testing.assert_close(image[..., 1:-1, 1:-1], paint_rays(resized, *size)[..., 1:-1, 1:-1], **TINY)
    points = paint_rays(K, 12, 20).permute(0, 2, 3, 1)
    pixels, _ = camera.project(points, resized[None])  # sampled where the resized camera sees the points
    seen = camera.sample(paint_rays(resized, *size), pixels)
    inside = ((pixels >= 0) & (pixels <= torch.tensor(size[::-1]) - 1)).all(-1)
    assert inside.float().mean() > 0.5
    torch.testing.assert_close(seen.permute(0, 2, 3, 1)[inside], points[inside], **TINY)


def test_a_cropped_image_sees_the_rays_of_cropped_intrinsics():
    K = assume(70.0, 12, 20)
    cropped = crop(K, top=2, left=5)
    torch.testing.assert_close(paint_rays(K, 12, 20)[..., 2:, 5:], paint_rays(cropped, 10, 15), **TINY)
    both = camera.resize_intrinsics(crop(K, 2, 4), (10, 16), (5, 8))
    torch.testing.assert_close(both, crop(camera.resize_intrinsics(K, (12, 20), (6, 10)), 1, 2), **TINY)


def test_a_mirrored_image_has_its_principal_point_on_the_other_side(rng):
    """What lies at x appears at -x; the centre moves from c to width - 1 - c, as training does it."""
    K = make_intrinsics(batch=1).clone()
    K[:, 0, 2] = 6.25
    mirrored = K.clone()
    mirrored[:, 0, 2] = 20 - 1 - K[:, 0, 2]
    points = camera.unproject(draw_depth(rng, batch=1), K)
    pixels, _ = camera.project(points * torch.tensor([-1, 1, 1]), mirrored)
    there, _ = camera.project(points, K)
    torch.testing.assert_close(pixels[..., 0], 19 - there[..., 0], **TINY)
    torch.testing.assert_close(pixels[..., 1], there[..., 1], **TINY)
    signs = torch.tensor([-1.0, 1, 1], dtype=torch.float64)[:, None, None]
    torch.testing.assert_close(paint_rays(K[0], 12, 20).flip(-1) * signs, paint_rays(mirrored[0], 12, 20), **TINY)


def test_cropped_intrinsics_shift_the_pixels(rng):
    K = make_intrinsics(batch=1)
    points = camera.unproject(draw_depth(rng, batch=1), K)
    pixels, _ = camera.project(points, crop(K, top=2, left=5))
    grid = camera.pixel_grid(12, 20, like=K)[..., :2]
    torch.testing.assert_close(pixels[0], grid - torch.tensor([5.0, 2.0], dtype=torch.float64), **TINY)


def test_points_behind_the_camera_have_negative_z_and_finite_pixels():
    points = torch.tensor([0.3, 0.2, -1.0], dtype=torch.float64).reshape(1, 1, 1, 3)
    pixels, z = camera.project(points, make_intrinsics(batch=1))
    assert z < 0
    assert torch.isfinite(pixels).all()
