"""A missing extra is an error that names its cure, and every cure that the package names is a true one."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

from jnm._optional import require

ROOT = Path(__file__).parents[1]


def extras() -> dict[str, set[str]]:
    """The distributions of each extra in pyproject.toml, spelled as modules are."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = re.compile(r"[A-Za-z0-9_-]+")
    return {
        extra: {named.match(line)[0].replace("-", "_") for line in lines}
        for extra, lines in project["optional-dependencies"].items()
    }


def required() -> list[tuple[str, str, str]]:
    """File, module and extra of every call of `require` in the package."""
    calls = []
    for path in sorted((ROOT / "jnm").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "require":
                module, *rest = [ast.literal_eval(a) for a in (*node.args, *(k.value for k in node.keywords))]
                calls.append((str(path.relative_to(ROOT)), module, rest[0]))
    return calls


def test_installed_module_is_returned():
    assert require("json.decoder", extra="io") is sys.modules["json.decoder"]


@pytest.mark.parametrize("module", ["not_installed_anywhere", "not_installed_anywhere.part"])
def test_missing_module_names_the_cure(module):
    with pytest.raises(ImportError, match=r'not_installed_anywhere is not installed.*: pip install "jnm\[io\]"'):
        require(module, extra="io")


def test_broken_module_speaks_for_itself(tmp_path, monkeypatch):
    (tmp_path / "half_installed.py").write_text("import a_dependency_that_is_absent")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="No module named 'a_dependency_that_is_absent'"):
        require("half_installed", extra="io")


def test_every_cure_is_a_true_one():
    known = extras()
    wrong = [
        f"{path}: {module} is not in the extra {extra!r}"
        for path, module, extra in required()
        if module.partition(".")[0] not in known.get(extra, ())
    ]
    assert not wrong, "\n".join(wrong)


def test_extras_are_those_promised():
    promised = {"mne", "io", "spikes", "cluster", "bids", "bayes", "cuda12", "cuda13", "test", "docs"}
    assert promised == set(extras())
    assert {"xarray", "zarr", "h5netcdf", "h5py", "scipy"} == extras()["io"]
