"""Make the notebooks from their texts: run each from a clean kernel and keep small outputs.

``python notebooks/build.py`` makes all of them, ``... build.py 02 03`` those whose names begin so.
With ``--check`` they are run, and nothing is written.
"""

import base64
import io
import os
import re
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

FOLDER = Path(__file__).resolve().parent
SECONDS_PER_CELL = 300
COLOURS = 64  # of a picture: enough for maps and curves
PLACE = "~/cmbml-place"  # stands for the temporary folder that a notebook works in


def texts(beginnings: list[str]) -> list[Path]:
    """Texts of the notebooks whose names begin with one of `beginnings`; of all where there are none."""
    found = sorted(FOLDER.glob("[0-9]*.md"))
    return [text for text in found if not beginnings or text.name.startswith(tuple(beginnings))]


def notebook_of(text: Path) -> NotebookNode:
    """The notebook that a text describes, without outputs; its cells are numbered, so that names stay."""
    notebook = jupytext.read(text, fmt="md:myst")
    notebook.metadata.pop("jupytext", None)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02d}"
        cell.metadata = {}
    return notebook


def run(notebook: NotebookNode, place: Path) -> None:
    """Run all cells in a new kernel, whose temporary folders lie in `place` and which reads no settings."""
    os.environ |= {
        "TMPDIR": str(place),
        "IPYTHONDIR": str(place / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(place / "runtime"),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    client = NotebookClient(
        notebook,
        timeout=SECONDS_PER_CELL,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(FOLDER)}},
        extra_arguments=["--IPKernelApp.log_level=40"],
    )
    client.execute()


def outputs(notebook: NotebookNode) -> Iterator[NotebookNode]:
    """All outputs of all cells."""
    for cell in notebook.cells:
        yield from cell.get("outputs", [])


def tidy(notebook: NotebookNode, place: Path) -> None:
    """Make outputs small, and free of the folder that they were made in."""
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"], "language_info": {"name": "python"}}
    for output in outputs(notebook):
        output.get("metadata", {}).clear()
        data = output.get("data", {})
        if "image/png" in data:
            data["image/png"] = small_png(data["image/png"])
            data.pop("text/plain", None)
        for holder, key in ((output, "text"), (data, "text/plain"), (data, "text/html")):
            if key in holder:
                said = re.sub(rf"{re.escape(str(place))}/cmbml-\w+", PLACE, holder[key])
                holder[key] = said.replace(sys.prefix, ".venv")


def small_png(encoded: str) -> str:
    """The picture in few colours, base64."""
    picture = Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB")
    out = io.BytesIO()
    picture.quantize(COLOURS, kmeans=3, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return base64.b64encode(out.getvalue()).decode()


def build(text: Path, *, write: bool) -> None:
    """Run one notebook and say how long it took; write it beside its text."""
    notebook = notebook_of(text)
    started, processor = time.monotonic(), _processor_seconds()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder).resolve()
        run(notebook, place)
        tidy(notebook, place)
    seconds, processor = time.monotonic() - started, _processor_seconds() - processor
    print(f"{text.stem}: {seconds:.0f} s, of which the processors worked {processor:.0f} s", flush=True)
    if write:
        nbformat.validate(notebook)
        nbformat.write(notebook, text.with_suffix(".ipynb"))


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Build what the command line names."""
    names = [argument for argument in sys.argv[1:] if argument != "--check"]
    for text in texts(names):
        build(text, write="--check" not in sys.argv)


if __name__ == "__main__":
    main()
