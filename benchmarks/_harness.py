"""What all benchmarks share: times measured in turn, the machine they were measured on, one table, one JSON file.

Times move by half from one minute to the next on a shared machine, ratios hardly: the workloads of a comparison are
therefore run in turn (A B C A B C ...), and a ratio is the median of the ratios within the turns.
"""

import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("jnm", "jax", "jaxlib", "equinox", "diffrax", "optax", "numpy", "vbjax")


def machine() -> dict[str, Any]:
    """What a time depends on: processor, device, versions, state of the code, date."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "device": jax.devices()[0].device_kind,
        "precision": "float64" if jax.config.jax_enable_x64 else "float32",
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "commit": _commit(),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    command = ["git", "describe", "--always", "--dirty"]
    run = subprocess.run(command, cwd=RESULTS.parent, capture_output=True, text=True, check=False)
    return run.stdout.strip() or None


def seconds(work: Callable[[], Any]) -> float:
    """Wall time of one call, to the end of what it started on the device."""
    start = time.perf_counter()
    jax.block_until_ready(work())
    return time.perf_counter() - start


def in_turn(workloads: Mapping[str, Callable[[], Any]], turns: int) -> dict[str, list[float]]:
    """Seconds of each workload in each of `turns` turns, after one call of each that compiles and warms up."""
    for work in workloads.values():
        jax.block_until_ready(work())
    times: dict[str, list[float]] = {name: [] for name in workloads}
    for _ in range(turns):
        for name, work in workloads.items():
            times[name].append(seconds(work))
    return times


def ratio(times: Iterable[float], reference: Iterable[float]) -> float:
    """The median of the ratios within the turns."""
    return statistics.median(a / b for a, b in zip(times, reference, strict=True))


def row(what: str, value: float, unit: str, goal: float | None = None, **more: Any) -> dict[str, Any]:
    """One line of a table; `goal` is the most that `value` may be."""
    return {
        "what": what,
        "value": value,
        "unit": unit,
        "goal": goal,
        "met": None if goal is None else value <= goal,
        **more,
    }


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """The rows in Markdown."""
    lines = ["| what | value | unit | goal | met |", "|---|---:|---|---:|---|"]
    for r in rows:
        goal, met = ("", "") if r["goal"] is None else (f"<= {r['goal']:g}", "yes" if r["met"] else "NO")
        lines.append(f"| {r['what']} | {r['value']:.3g} | {r['unit']} | {goal} | {met} |")
    return "\n".join(lines)


def report(name: str, rows: list[dict[str, Any]], *, keep: bool = True, **details: Any) -> None:
    """Print the table, and keep it with the machine in results/NAME.json."""
    here = machine()
    print(f"{name}: {here['processor']}, {here['cores']} cores, {here['device']}, jax {here['versions']['jax']}\n")
    print(table(rows))
    if keep:
        RESULTS.mkdir(exist_ok=True)
        content = {"benchmark": name, "machine": here, **details, "rows": rows}
        (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
