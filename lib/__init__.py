"""Self-supervised segmentation of driving video: the functions behind the notebooks.

Letters in shapes: B batch, T frames, H W pixels, h w feature grid, C channels, S superpixels, R regions,
E graph edges, D embedding, K clusters or classes, N sampled points, P pastes.

Axes: camera x right, y down, z forward; pixel (0, 0) is the centre of the top-left pixel; intrinsics are
in pixels of the array beside them. `depth` runs along z in scene units; `inverse_depth` is 1 / depth.

Modules import only from groups to their left:
`params artifacts parallel` · `intrinsics camera` · `data` · `networks starts prototypes` · `superpixels regions` ·
`copy_paste views` · `depth` · `methods` · `clustering codebooks evaluation` · `training` ·
`clusters finetuning inference` · `ablations` · `benchmarks` · `figures widgets run`.
"""

from pathlib import Path

__version__ = "0.1.0"
ROOT = Path(__file__).resolve().parent.parent
"""The checkout: notebooks/, params/ and outputs/ lie beside lib/ (the install is editable)."""
