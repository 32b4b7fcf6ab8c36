"""The numbers and pictures of a training as files that TensorBoard shows; an optional extra."""

from pathlib import Path

from .checkpoints import History


class EventWriter:
    """Writes what is new in a history. On a resume it goes on where the checkpoint was: what came after is replaced.
    If the folder has no files, it writes all of the history.

    Raises:
        ModuleNotFoundError: the package `tensorboard` is not there.
    """

    def __init__(self, folder: Path, history: History) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            advice = 'pip install "depth-regions[tensorboard]", or leave tensorboard = False'
            raise ModuleNotFoundError(f"tensorboard = True needs the package tensorboard: {advice}") from None
        written = len(history) if any(folder.glob("events*")) else 0
        self.writer = SummaryWriter(str(folder), purge_step=written)
        self.rows, self.pictures = written, set(history.pictures) if written else set()

    def write(self, history: History) -> None:
        """Columns as scalars; pictures as images, one beside the other, where they have colours."""
        for name, values in history.columns.items():
            for step in range(self.rows, len(values)):
                self.writer.add_scalar(name, values[step], step)
        for step in set(history.pictures) - self.pictures:
            for name, array in history.pictures[step].items():
                if array.ndim == 4 and array.shape[-1] == 3:
                    self.writer.add_images(name, array, step, dataformats="NHWC")
        self.rows, self.pictures = len(history), set(history.pictures)

    def close(self) -> None:
        self.writer.close()
