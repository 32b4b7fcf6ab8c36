"""The parameters of each notebook: `schemas` and `later` have the classes, `reading` fills, `fields` checks them;
`inputs` knows the files that they name.

A notebook's `parameters` cell lists the same names and defaults; `read` turns that cell, after papermill or a
reader changed it, into a frozen dataclass and stops on a name or a type that does not fit.
"""

from .fields import ParameterError
from .inputs import list_paths, locate, reader_modules
from .reading import as_dict, decisive, fixed, is_text, make, read, read_file
from .schemas import (
    DATASETS,
    SCHEMAS,
    AblationParams,
    AugmentationParams,
    DepthParams,
    EvaluationParams,
    FinetuningParams,
    RegionParams,
    SpeedParams,
    TrainingParams,
    VideoParams,
)

__all__ = [
    "DATASETS",
    "SCHEMAS",
    "AblationParams",
    "AugmentationParams",
    "DepthParams",
    "EvaluationParams",
    "FinetuningParams",
    "ParameterError",
    "RegionParams",
    "SpeedParams",
    "TrainingParams",
    "VideoParams",
    "as_dict",
    "decisive",
    "fixed",
    "is_text",
    "list_paths",
    "locate",
    "make",
    "read",
    "read_file",
    "reader_modules",
]
