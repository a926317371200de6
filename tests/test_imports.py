"""The rooms import one way, importing jnm does nothing, and what is heavy waits until it is used."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "jnm"

# From left to right: a module imports its own room and those before it; before all are the private modules `_name.py`.
ROOMS = (
    *("models", "spiking", "network", "integration", "observe", "meg", "stability", "fitting", "sweeps", "studies"),
    *("datasets", "plot", "cli", "testing"),
)
APART = {("sweeps", "fitting")}  # a batch of fits lives in fitting, which must not need a sweep to be one
HEAVY = {"mne", "matplotlib", "xarray", "zarr", "h5netcdf", "h5py", "scipy", "pandas", "blackjax", "arviz", "IPython"}


def room_of(module: str) -> str:
    """The room of a dotted name below jnm; "" for private modules of the root."""
    room = module.partition(".")[0]
    return "" if room.startswith("_") else room


def rank(room: str) -> int:
    return ROOMS.index(room) if room else -1


def imported(body: list[ast.stmt]) -> Iterator[tuple[int, str]]:
    """Line and dotted name of what runs when the module is imported: not inside functions, not under TYPE_CHECKING."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{'.' * node.level}{node.module or ''}.{alias.name}") for alias in node.names)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not only_for_types(node):
            for block in ("body", "orelse", "handlers", "finalbody"):
                yield from imported(getattr(node, block, []))


def only_for_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def wrong_imports(module: str, source: str) -> list[str]:
    """The module-level imports of `module` (dotted, below jnm) that go the wrong way, are relative or are heavy."""
    here, wrong = room_of(module), []
    for line, name in imported(ast.parse(source).body):
        top, _, below = name.partition(".")
        there = room_of(below)
        if top in HEAVY:
            wrong.append(f"{module}:{line} imports {top} at import time: import it inside the function that needs it")
        elif not top:
            wrong.append(f"{module}:{line} imports {name}: write from jnm.room.module import name")
        elif top == "jnm" and (not below or there not in (*ROOMS, "")):
            wrong.append(f"{module}:{line} imports {name}: from the room that defines it, please, not from jnm itself")
        elif top == "jnm" and (rank(there) > rank(here) or (here, there) in APART):
            wrong.append(f"{module}:{line} imports {name}: {here or 'the root'} stands before {there}")
    return wrong


def modules() -> dict[str, Path]:
    """Every module of jnm except its front door `jnm/__init__.py`, by its dotted name below jnm."""
    found = {".".join(p.relative_to(PACKAGE).with_suffix("").parts): p for p in sorted(PACKAGE.rglob("*.py"))}
    return {name: path for name, path in found.items() if name != "__init__"}


def test_every_module_has_a_room():
    homeless = [name for name in modules() if room_of(name) not in (*ROOMS, "")]
    assert not homeless, f"give these a place in ROOMS, from left to right: {homeless}"


def test_imports_go_one_way():
    wrong = [line for name, path in modules().items() for line in wrong_imports(name, path.read_text(encoding="utf-8"))]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("models.nmm2", "from jnm.fitting.fit import fit"),
        ("models.nmm2", "from jnm.network import Network"),
        ("_model", "import jnm.models"),
        ("meg.sensors", "import mne"),
        ("meg.sensors", "try:\n    import scipy.signal\nexcept ImportError:\n    pass"),
        ("observe.spectrum", "class A:\n    from jnm.stability import cycle"),
        ("sweeps.sweep", "from jnm.fitting import fit"),
        ("network.delay", "from jnm import Network"),
        ("network.delay", "import jnm"),
        ("network.delay", "from .connectome import Connectome"),
    ],
)
def test_the_check_sees(module, source):
    assert len(wrong_imports(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("models.nmm2", "from jnm._model import AbstractModel\nimport numpy as np"),
        ("integration.solution", "def to_xarray():\n    import xarray\n    from jnm.plot import lines"),
        ("integration.simulate", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import xarray"),
        ("fitting.loss", "from jnm.meg.leadfield import LeadField"),
        ("cli", "from jnm.datasets import connectome"),
    ],
)
def test_the_check_lets_pass(module, source):
    assert not wrong_imports(module, source)


# An unknown platform makes any use of a device an error, so nothing below may create an array or ask for a device.
LOOK = """
import json, os, pkgutil, random, sys, warnings
import numpy, jax, equinox, diffrax, optax, optimistix, lineax, jaxtyping
state = lambda: [dict(jax.config.values), dict(os.environ), list(warnings.filters), random.getstate(),
                 str(numpy.random.get_state())]
before, loaded = state(), set(sys.modules)
import jnm
new = sorted({name.partition(".")[0] for name in set(sys.modules) - loaded})
for module in pkgutil.walk_packages(jnm.__path__, "jnm."):
    __import__(module.name)
print(json.dumps({"new": new, "changed": [i for i, (a, b) in enumerate(zip(before, state())) if a != b]}))
"""


def test_nothing_happens_at_import():
    """No device is asked for, nothing printed, no configuration or random state changed, nothing heavy loaded."""
    environment = os.environ | {"JAX_PLATFORMS": "no_such_platform", "PYTHONPATH": str(PACKAGE.parent)}
    command = [sys.executable, "-W", "error::UserWarning", "-c", LOOK]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert run.returncode == 0 and not run.stderr, run.stderr
    assert run.stdout.count("\n") == 1, f"importing jnm printed: {run.stdout}"
    seen = json.loads(run.stdout)
    assert seen["changed"] == []
    assert not HEAVY.intersection(seen["new"])
