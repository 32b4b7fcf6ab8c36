"""Where inverse depth comes from: learned here, or from elsewhere, by one interface.

`open_source(params, dataset, networks)` opens what `params.source` names; the source maps frames and their images to
inverse depth. A metric source gives 1 / metre and is scored as it is; any other is scaled by medians. `stereo` and
`constant` need no learning; `shuffled` is a control that keeps what depth maps look like and takes away the scene.
"""

from typing import Any

from ...data import Dataset
from .controls import Constant, Shuffled, derange
from .hugging_face import HuggingFace
from .interface import FAR, DepthSource, describe, find_largest
from .own import Learned, Measured
from .stereo import Stereo, match_stereo

__all__ = [
    "FAR",
    "DepthSource",
    "derange",
    "describe",
    "find_largest",
    "match_stereo",
    "open_source",
]


def open_source(params: Any, dataset: Dataset, networks: Any = None) -> DepthSource:
    """The source that `params` (a `DepthParams`) names.

    Args:
        networks: trained ones; needed by "learned", used by "shuffled" if given.
    Raises:
        ValueError: the source cannot serve this data set, the model gives something unknown, or its licence is not
            accepted (one that is unknown here must be, too).
        ImportError: hugging_face without the package transformers.
        OSError: a model that is neither here nor can be fetched.
    """
    kind, _, model = params.source.partition(":")
    if kind == "learned":
        return Learned(params, networks)
    if kind == "hugging_face":
        return HuggingFace(params, model)
    if kind == "shuffled":
        inner = Measured(params, dataset) if networks is None else Learned(params, networks)
        return Shuffled(inner, dataset, params.seed)
    sources = {"measured": Measured, "stereo": Stereo, "constant": Constant}
    if kind not in sources:
        raise ValueError(f"unknown source {params.source!r}: choose learned, shuffled, {', '.join(sources)}")
    return sources[kind](params, dataset)
