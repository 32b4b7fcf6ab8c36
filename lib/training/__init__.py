"""The engine behind every training: warm-up and cosine, checkpoints, resume; for any task with three members.

`engine` is the loop, `checkpoints` what it leaves on the disk, `batches` who makes its batches, `processes` how several
of it train together; `health` tells a collapse, `pictures` show what the network sees on the way.
"""

from .checkpoints import History, hash_tensors
from .engine import Settings, Task, learning_rate_at, read_settings, train

__all__ = ["History", "Settings", "Task", "hash_tensors", "learning_rate_at", "read_settings", "train"]
