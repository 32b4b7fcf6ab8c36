"""What goes wrong far away, in words that say where."""


class WorkerDied(RuntimeError):
    """A worker process ended in the middle of its work: killed, out of memory, or crashed. What it saved stays."""


def explain(error: Exception, what: str) -> Exception:
    """The same kind of error, as far as callers tell them apart, whose one sentence begins with `what`."""
    if isinstance(error, OSError) and error.errno:
        return OSError(error.errno, f"{what}: {error.strerror or error}")
    kind = next((k for k in (FileNotFoundError, OSError, ValueError) if isinstance(error, k)), RuntimeError)
    return kind(f"{what}: {str(error) or type(error).__name__}")
