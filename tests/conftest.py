"""Fixtures of the whole suite: double precision where a test asks for it, recordings and oracles, the short mode."""

import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")  # before anything imports matplotlib: tests open no windows

import jax
import pytest

# Arrays of different rank must be lined up by hand: [P] against [P, region] would otherwise broadcast the wrong way.
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def x64() -> Iterator[None]:
    """Double precision for one test; the package's default is single."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Recordings and oracles: the folder JNM_DATA, or ../shared/data beside the repository."""
    folder = Path(os.environ.get("JNM_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder}: set JNM_DATA")
    return folder


@pytest.fixture(scope="session")
def short() -> bool:
    """Whether JNM_SHORT=1 asks for the short mode of notebooks and demonstrations."""
    return os.environ.get("JNM_SHORT", "") == "1"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many tests were skipped for want of data: a line that `.ci/run` reads, and fails on."""
    skips = terminalreporter.stats.get("skipped", [])
    missing = sum("JNM_DATA" in str(report.longrepr) for report in skips)
    terminalreporter.write_line(f"skipped for missing data (JNM_DATA): {missing}")
