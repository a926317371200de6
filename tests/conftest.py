"""Fixtures of the whole suite: double precision where a test asks for it, recordings and oracles, the short mode."""

import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")  # before anything imports matplotlib: tests open no windows
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # its threads wait for one another where all cores are busy

import jax
import pytest

# Half of the suite's time goes into compiling small programs, and a third of that into XLA's newer emitters of fused
# kernels and into cutting programs in parts, for threads that the other workers of pytest occupy. Tests do without both,
# so last digits may be others than users get: `XLA_FLAGS= pytest` tests with the compiler as users have it, and
# `.ci/run` does so where tests compare bits. A flag that XLA does not know ends the process; these are known to 0.10.
if jax.__version_info__ < (0, 11):
    emitters, parts = "--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1"
    os.environ.setdefault("XLA_FLAGS", f"{emitters} {parts}")  # read when the first program is compiled

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
