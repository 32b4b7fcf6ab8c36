"""The committed notebooks: executed at their defaults and normalised, so that a re-run changes only what it must."""

import base64
import io
import shutil

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

from .. import ROOT, artifacts, params
from .chain import QUIET_KERNEL

NOTEBOOKS = ROOT / "notebooks"
LARGE = 20_000  # characters of an encoded picture, above which 256 colours must do
WIDGET = "application/vnd.jupyter.widget-view+json"  # needs a live kernel; GitHub refuses it without its state


def normalise(notebook: NotebookNode) -> NotebookNode:
    """Keep the tags, the outputs and execution counts 1..n; drop all that a machine or an editor added."""
    notebook = nbformat.from_dict(notebook)
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    count = 0
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({"tags": cell.metadata.tags} if cell.metadata.get("tags") else {})
        if cell.cell_type == "code":
            count += 1
            cell.execution_count = count
            cell.outputs = [_normalise_output(out, count) for out in cell.outputs if WIDGET not in out.get("data", {})]
    return notebook


def _normalise_output(output: NotebookNode, count: int) -> NotebookNode:
    if output.output_type == "execute_result":
        output.execution_count = count
    if "metadata" in output:
        output.metadata = nbformat.from_dict({})
    picture = output.get("data", {}).get("image/png", "")
    if len(picture) > LARGE:
        output.data["image/png"] = shrink_picture(picture)
    return output


def shrink_picture(picture: str) -> str:
    """A PNG with a palette of 256 colours, if that is smaller; base64 in and out."""
    image, buffer = Image.open(io.BytesIO(base64.b64decode(picture))), io.BytesIO()
    if image.mode == "P":
        return picture
    image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(buffer, "png", optimize=True)
    smaller = base64.b64encode(buffer.getvalue()).decode()
    return min(picture, smaller, key=len)


def refresh() -> int:
    """Execute notebooks/*.ipynb in place, in order, without injected parameters, and normalise them.

    The tiny run begins anew: a training that is found finished would print less than one that is made.
    """
    shutil.rmtree(artifacts.run_folder(params.DepthParams().run), ignore_errors=True)
    for name in params.SCHEMAS:
        path = NOTEBOOKS / f"{name}.ipynb"
        notebook = nbformat.read(path, as_version=4)
        place = {"metadata": {"path": NOTEBOOKS}}
        client = NotebookClient(
            notebook, timeout=1800, kernel_name="python3", resources=place, extra_arguments=list(QUIET_KERNEL)
        )
        client.execute()
        nbformat.write(normalise(notebook), path)
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} KB")
    return 0
