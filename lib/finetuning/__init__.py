"""Training with labels: the upper mark of notebook 05, and what notebook 06 does with trained weights."""

from .labelled import LabelledSampler, LabelledTask

__all__ = ["LabelledSampler", "LabelledTask"]
