"""The command line: `jnm demo` shows the whole chain, from a brain network to sensors and back by gradient."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from jnm._version import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 on success, 2 with one clear line on bad input."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except (ValueError, ImportError, OSError) as error:
        print(f"jnm {options.command}: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jnm", description="JAX neural mass models: from spikes to MEG, and back by gradient."
    )
    parser.add_argument("--version", action="version", version=f"jnm {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)

    demo = commands.add_parser(
        "demo", help="simulate 90 regions under a MEG helmet and recover three parameters by gradient"
    )
    demo.add_argument(
        "--out", type=Path, default=Path("jnm-demo"), help="folder for the figure and the result (default %(default)s)"
    )
    demo.add_argument("--seed", type=int, default=0, help="seed of the subject (default %(default)s)")
    demo.set_defaults(run=_demo)
    return parser


def _demo(options: argparse.Namespace) -> int:
    from jnm import datasets
    from jnm.studies import recovery

    folder = writable(options.out)
    begin = time.perf_counter()
    print(
        "90 regions of PING nodes, synthetic connectome normalised by rows (jnm.datasets.connectome()).\n"
        f"Helmet: canonical Neuromag, 306 channels, {recovery.HELMET_SHIFT} mm from the head frame's origin.\n"
        "Sensor noise: white, 3 fT/sqrt(Hz) (magnetometers) and 3 fT/cm/sqrt(Hz) (gradiometers).\n"
        "Data: 40 s at half the time step of the fit, with another seed and another conductor, a sphere at\n"
        f"{recovery.DATA_CENTRE} mm; the fit's is at {recovery.FIT_CENTRE} mm."
    )
    result = recovery.recover(datasets.connectome().normalised("rows"), options.seed)
    print(f"\n{result}\n\n{result.report}\n")
    figure, table = result.save(folder)
    print(f"{time.perf_counter() - begin:.0f} s; figure {figure}, result {table}")
    return 0


def writable(folder: Path) -> Path:
    """The folder, made if need be. Raises `OSError` before hours of work if it cannot be written."""
    probe = folder / ".jnm-write-test"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OSError(f"the output folder {folder} cannot be written ({error}); choose another with --out.") from error
    return folder


if __name__ == "__main__":
    sys.exit(main())
