"""A finished run looks at images it has never seen.

`runs` loads what it learned; `views` is a video as notebook 11 shows it, with depth and regions; `apply` segments
videos and folders of images (`frames`) in one call, into a folder (`results`); `export` makes one file of a run that
needs no `lib`.
"""

from .apply import Drawing, default_folder, segment
from .export import Comparison, ModelFile, compare_labels, export_model, load_model
from .frames import Clip, find_clips
from .results import Choices, Segmented
from .runs import Segmenter, TrainedRun, class_set, load_run, load_segmenter, name_groups
from .views import Footage, View, choose_footage, observe_video, output_size, read_views

__all__ = [
    "Choices",
    "Clip",
    "Comparison",
    "Drawing",
    "Footage",
    "ModelFile",
    "Segmented",
    "Segmenter",
    "TrainedRun",
    "View",
    "choose_footage",
    "class_set",
    "compare_labels",
    "default_folder",
    "export_model",
    "find_clips",
    "load_model",
    "load_run",
    "load_segmenter",
    "name_groups",
    "observe_video",
    "output_size",
    "read_views",
    "segment",
]
