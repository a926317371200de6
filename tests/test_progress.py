"""Progress bars: they move and end, change no number, and tqdm is asked for only where somebody looks."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

import jnm
from jnm import _progress

LINES = {
    "start": "import sys, types\nfrom jnm._progress import progress_bar",
    "notebook": """
class Shell:
    config = {"IPKernelApp": {}}
sys.modules["ipykernel.zmqshell"] = types.ModuleType("ipykernel.zmqshell")
sys.modules["IPython"] = types.ModuleType("IPython")
sys.modules["IPython"].get_ipython = Shell
sys.modules["ipywidgets"] = None
""",
    "hidden": "with progress_bar(3, False) as bar:\n    bar.update()\n    bar.set_postfix_str('loss')",
    "shown": "with progress_bar(3) as bar:\n    bar.update(3)",
    "loaded": "print([name for name in sys.modules if name.partition('.')[0] == 'tqdm'][:1])",
}


def python(*lines: str) -> subprocess.CompletedProcess[str]:
    """A Python of its own, in which every warning is printed."""
    environment = os.environ | {"PYTHONPATH": str(Path(jnm.__file__).parents[1])}
    script = "\n".join(LINES[line] for line in lines)
    return subprocess.run(
        [sys.executable, "-W", "always", "-c", script], capture_output=True, text=True, env=environment, timeout=300
    )


def test_a_bar_that_is_not_shown_imports_nothing():
    run = python("start", "hidden", "loaded")
    assert run.returncode == 0 and run.stdout.strip() == "[]", run.stderr


def test_a_notebook_without_widgets_gets_a_line_of_text_and_no_warning():
    run = python("start", "notebook", "shown", "loaded")
    assert run.returncode == 0, run.stderr
    assert "3/3" in run.stderr and "IProgress" not in run.stderr and "tqdm" in run.stdout


def test_the_bar_of_a_run_moves_and_ends_and_changes_nothing(capsys):
    run = jnm.simulate(jnm.ING(), 300.0, 0.1, progress=True)
    shown = capsys.readouterr().err
    assert "100%" in shown and "3.00k/3.00k" in shown
    for with_bar, without in zip(run.ys, jnm.simulate(jnm.ING(), 300.0, 0.1).ys, strict=True):
        np.testing.assert_array_equal(with_bar, without)
    slope = jax.grad(lambda eta: jnm.simulate(jnm.ING(eta=eta), 10.0, 0.1, progress=True).ys.r.mean())(20.0)
    assert np.isfinite(slope)


@pytest.mark.parametrize(("watched", "progress"), [(True, True), (True, False), (False, True)])
def test_a_fit_shows_its_bar_where_somebody_watches(monkeypatch, capsys, watched, progress):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: watched)
    theta, build = jnm.free(jnm.ING(), lambda m: m.eta)
    jnm.fit(lambda m, key: m.eta**2, theta, build, optax.adam(0.1), 12, jax.random.key(0), progress=progress)
    shown = capsys.readouterr().err
    assert ("12/12" in shown and "best" in shown and "skipped 0" in shown) == (watched and progress)


def test_terminals_and_notebooks_are_watched_and_files_are_not(monkeypatch):
    monkeypatch.delitem(sys.modules, "ipykernel.zmqshell", raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    assert not _progress.someone_watches()
    monkeypatch.setitem(sys.modules, "ipykernel.zmqshell", sys)
    assert _progress.someone_watches()
    monkeypatch.delitem(sys.modules, "ipykernel.zmqshell")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert _progress.someone_watches()
