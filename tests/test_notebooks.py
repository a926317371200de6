"""Each notebook is a pair: the .py that people edit and the executed .ipynb that people read, with the same cells."""

from pathlib import Path

import jupytext
import pytest

FOLDER = Path(__file__).parents[1] / "notebooks"
NAMES = sorted({path.stem for suffix in ("*.py", "*.ipynb") for path in FOLDER.glob(suffix)})


def cells(path: Path) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in jupytext.read(path).cells]


def test_there_are_notebooks():
    assert NAMES


@pytest.mark.parametrize("name", NAMES)
def test_pair_has_the_same_cells(name):
    script, notebook = (FOLDER / f"{name}{suffix}" for suffix in (".py", ".ipynb"))
    assert cells(script) == cells(notebook), f"run: jupytext --sync {script}"


@pytest.mark.parametrize("name", NAMES)
def test_notebook_was_executed_and_shows_a_figure(name):
    code = [cell for cell in jupytext.read(FOLDER / f"{name}.ipynb").cells if cell.cell_type == "code"]
    outputs = [output for cell in code for output in cell.outputs]
    assert all(cell.execution_count for cell in code if cell.source), f"run: jupytext --sync --execute {name}.py"
    assert not [output for output in outputs if output.output_type == "error"]
    assert any("image/png" in output.get("data", {}) for output in outputs)
