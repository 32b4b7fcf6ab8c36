"""Notebook 01: pick a pixel; see its depth, where the next frame shows it, and the loss along its epipolar line."""

import ipywidgets
import numpy as np
import torch
from matplotlib.figure import Figure

from .. import depth
from ..figures.depth import draw_search
from . import panel


def show_pixel(
    networks: depth.DepthNetworks, images: np.ndarray, intrinsics: np.ndarray, ssim_weight: float, u: int, v: int
) -> Figure:
    """The search for the depth of pixel (u, v) of the first of two frames. (2, H, W, 3) uint8, (3, 3)"""
    target, source = depth.to_tensor(images, torch.zeros(()))
    predicted = float(1 / depth.predict_inverse_depth(networks, images[:1])[0, v, u])
    motions, factors = depth.predict_motion(networks, images)
    motion, matrix = torch.from_numpy(motions[0]).float(), torch.from_numpy(intrinsics).float()
    if len(factors):  # the focal length was learned too
        matrix[[0, 1], [0, 1]] *= float(factors[0])
    network = networks.depth
    depths = torch.logspace(*np.log10([1 / network.nearest, 1 / network.farthest]), 96)
    places, errors = depth.search_depth(target, source, matrix, motion, (u, v), depths, ssim_weight)
    return draw_search(images, (u, v), places.numpy(), depths.numpy(), errors.numpy(), predicted)


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
