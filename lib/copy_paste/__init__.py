"""Depth regions pasted between images: drawing a plan, and executing it (CPCDR sec. 3.3; fact sheet sec. 6).

Masks are hard, so a composite is, at each pixel, the nearest of its layers, whatever the order; equal depths go to
the background, then to the lowest paste. Colours follow from that map; seams are softened afterwards and never reach
the depth. (The released code blends depth at seams, so its later pastes depend on the earlier ones.)

`sources` has the images, `plans` the draws, `layers` what a plan says of each placement; `render` executes it with
OpenCV, paste by paste, `batched` with torch, all pastes at once and on any device, with the same result; `literal` is
the released way, to compare with. (Not imported here: its torchvision takes longer to load than all else, and every
worker of a training loads this package.)
"""

from . import batched, render
from .layers import Layers, lay_out
from .plans import Plan, draw_placements, draw_plan, select_regions
from .render import compose, make_item, soften_seams
from .sources import Source, prepare_source

__all__ = [
    "Layers",
    "Plan",
    "Source",
    "batched",
    "compose",
    "draw_placements",
    "draw_plan",
    "lay_out",
    "make_item",
    "prepare_source",
    "render",
    "select_regions",
    "soften_seams",
]
