"""The README speaks the truth: its commands are the two that CI runs, its names exist, its code runs."""

import ast
import os
import re
import subprocess
import sys
from functools import reduce
from pathlib import Path

import pytest

import jnm

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
CODE = "\n".join(re.findall(r"```python\n(.*?)```", README, re.DOTALL))


def test_two_commands_set_everything_up():
    commands = [line for line in README.splitlines() if line.startswith("python3 -m venv")]
    assert [command.split("/")[-1] for command in commands] == ["jnm demo", "pytest -n auto"]


def test_names_exist():
    chains = {ast.unparse(node) for node in ast.walk(ast.parse(CODE)) if isinstance(node, ast.Attribute)}
    names = sorted(chain for chain in chains if re.fullmatch(r"jnm(\.\w+)+", chain))
    assert len(names) > 10
    for name in names:
        reduce(getattr, name.split(".")[1:], jnm)  # AttributeError names what is missing


def test_files_it_points_to_exist():
    for path in re.findall(r"\]\(([\w./-]+)\)", README) + re.findall(r"`([A-Z]+(?:\.\w+)?)`", README):
        assert (Path(__file__).parents[1] / path).exists(), path


@pytest.mark.slow
def test_code_runs(tmp_path):
    script = tmp_path / "readme.py"
    script.write_text(CODE, encoding="utf-8")
    run = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=os.environ | {"MPLBACKEND": "Agg"}, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert "coupling.gain" in run.stdout
