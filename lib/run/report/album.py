"""The pictures of a page, inside it: in the best quality that fits."""

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from PIL import Image

from ..notebooks import shrink_picture

MARK = "\ue000{}\ue001"  # stands for a picture or an equation until the text around it is safe
MARKS = re.compile("\ue000(\\d+)\ue001")
SMALLER = ((False, 1.0), (True, 1.0), (True, 0.7), (True, 0.5), (True, 0.35), (True, 0.2), (True, 0.0))
"""Palette of 256 colours, scale: tried in this order until the page is small enough; 0 = without its pictures."""


def fill_in(text: str, pieces: Sequence[str]) -> str:
    """The text with every mark replaced by the piece of its number."""
    return MARKS.sub(lambda mark: pieces[int(mark[1])], text)


@dataclass
class Album:
    """The pictures of a page. A mark stands for each in the text, until `place` knows how large they may be."""

    pictures: list[tuple[str, bytes, str]] = field(default_factory=list)  # kind, content, alt text

    def add(self, kind: str, content: bytes, alt: str) -> str:
        """Keep a picture (kind: a MIME type); returns its mark."""
        self.pictures.append((kind, content, " ".join(alt.split())))
        return MARK.format(len(self.pictures) - 1)

    def place(self, page: str, largest: int) -> str:
        """The page with its pictures, in the best quality that fits.

        Raises:
            ValueError: its text alone is larger than `largest` bytes.
        """
        for palette, scale in SMALLER:
            shown = [self._show(*picture, palette, scale) for picture in self.pictures]
            full = fill_in(page, shown)
            if len(full.encode()) <= largest:
                return full
        raise ValueError(
            f"the text of this page alone is {len(full.encode()) / 1e6:.1f} MB, above {largest / 1e6:g} MB"
        )

    @staticmethod
    def _show(kind: str, content: bytes, alt: str, palette: bool, scale: float) -> str:
        if not scale:
            return f"<em>[left out, the page would be too large: {escape(alt)}]</em>"
        size, data = "", base64.b64encode(content).decode()
        if kind != "image/svg+xml":
            try:
                image = Image.open(io.BytesIO(content))
                size = f' width="{image.width}" height="{image.height}"'
                if scale < 1 and kind in ("image/png", "image/jpeg"):
                    data = _rescale(image, kind, scale)
            except OSError:
                return f"<em>[a picture that cannot be read: {escape(alt)}]</em>"
        if palette and kind == "image/png":
            data = shrink_picture(data)
        return f'<img src="data:{kind};base64,{data}" alt="{escape(alt)}"{size}>'


def _rescale(image: Image.Image, kind: str, scale: float) -> str:
    """A smaller copy, encoded; base64."""
    size, buffer = (max(1, round(image.width * scale)), max(1, round(image.height * scale))), io.BytesIO()
    image.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(buffer, kind.split("/")[1], quality=80)
    return base64.b64encode(buffer.getvalue()).decode()
