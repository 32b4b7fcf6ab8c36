"""Notebook 01: pick a pixel; see its depth, where the next frame shows it, and the loss along its epipolar line."""

import ipywidgets
import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_gradient_magnitude, uniform_filter

from .. import depth
from ..figures.depth import draw_search
from . import panel


def pick_pixels(image: np.ndarray) -> tuple[tuple[int, int], tuple[int, int]]:
    """Column and row of a pixel on the sharpest edge of the lower half, and of one on its plainest spot."""
    change = gaussian_gradient_magnitude(image.mean(2), 1.0)
    wide = uniform_filter(change, 7)
    inside = np.zeros(change.shape, bool)
    height, width = change.shape
    inside[height // 2 : height - 8, width // 8 : width - width // 8] = True
    spots = [np.where(inside, values, -np.inf).argmax() for values in (change, -wide)]
    return tuple((int(spot % width), int(spot // width)) for spot in spots)


def show_pixel(
    networks: depth.DepthNetworks, images: np.ndarray, intrinsics: np.ndarray, ssim_weight: float, u: int, v: int,
    true: np.ndarray | None = None,
) -> Figure:  # fmt: skip
    """The search for the depth of pixel (u, v) of the first of two frames. (2, H, W, 3) uint8, (3, 3)

    Args:
        true: depth of the first frame in metres, brought to the unit of the prediction by the ratio of medians. (H, W)
    """
    target, source = depth.to_tensor(images, torch.zeros(()))
    inverse_depth = depth.predict_inverse_depth(networks, images[:1])[0]
    predicted = float(1 / inverse_depth[v, u])
    if true is not None:
        valid = depth.select_valid(true)
        true = float(true[v, u] * np.median(1 / inverse_depth[valid]) / np.median(true[valid]))
    motion = torch.from_numpy(depth.predict_motion(networks, images)[0][0]).float()
    matrix = torch.from_numpy(intrinsics).float()
    network = networks.depth
    depths = torch.logspace(*np.log10([1 / network.nearest, 1 / network.farthest]), 96)
    places, errors = depth.search_depth(target, source, matrix, motion, (u, v), depths, ssim_weight)
    return draw_search(images, (u, v), places.numpy(), depths.numpy(), errors.numpy(), predicted, true=true)


def explore_pixel(
    networks: depth.DepthNetworks, images: np.ndarray, intrinsics: np.ndarray, ssim_weight: float
) -> ipywidgets.VBox:
    """Two sliders that pick a pixel; arguments as in `show_pixel`."""
    height, width = images.shape[1:3]
    slider = ipywidgets.IntSlider
    return panel(
        lambda u, v: show_pixel(networks, images, intrinsics, ssim_weight, u, v),
        u=slider(value=width // 3, max=width - 1, description="column"),
        v=slider(value=3 * height // 4, max=height - 1, description="row"),
    )
