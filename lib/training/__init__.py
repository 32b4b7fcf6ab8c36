"""The engine behind every training: warm-up and cosine, checkpoints, resume; for any task with three members."""

from .checkpoints import History
from .engine import Task, learning_rate_at, train

__all__ = ["History", "Task", "learning_rate_at", "train"]
