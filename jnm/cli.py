"""The command line: `jnm demo` shows the whole chain, from a brain network to sensors and back by gradient; `jnm fit`
takes it to a user's recording."""

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

    fit = commands.add_parser(
        "fit", help="explain an average MEG response by a network of mass models, judged on data held out"
    )
    fit.add_argument("evoked", type=Path, metavar="EVOKED.fif", help="average responses, as MNE writes them")
    fit.add_argument("--forward", type=Path, required=True, metavar="FWD.fif", help="forward solution")
    fit.add_argument("--cov", type=Path, required=True, metavar="COV.fif", help="noise covariance of single trials")
    fit.add_argument("--condition", metavar="NAME", help="which average (default the first)")
    fit.add_argument(
        "--connectome",
        type=Path,
        metavar="FILE",
        help="labelled weights (default: synthetic, from the parcels' places)",
    )
    fit.add_argument(
        "--parcels", type=Path, metavar="FILE.json", help="which source belongs where (default: 90 by k-means)"
    )
    fit.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for figure, netCDF file and text")
    fit.add_argument("--short", action="store_true", help="fewer steps, folds and controls: minutes become seconds")
    fit.set_defaults(run=_fit)
    return parser


def _demo(options: argparse.Namespace) -> int:
    from jnm import datasets
    from jnm.studies import recovery, writable

    folder = writable(options.out)
    begin = time.perf_counter()
    print(
        "90 regions of PING nodes, synthetic connectome normalised by rows (jnm.datasets.connectome()).\n"
        f"Helmet: canonical Neuromag, 306 channels, {recovery.HELMET_SHIFT} mm from the head frame's origin.\n"
        "Sensor noise: white, 3 fT/sqrt(Hz) (magnetometers) and 3 fT/cm/sqrt(Hz) (gradiometers).\n"
        "Data: 60 s at half the time step of the fit, with another seed and another conductor, a sphere at\n"
        f"{recovery.DATA_CENTRE} mm; the fit's is at {recovery.FIT_CENTRE} mm."
    )
    result = recovery.recover(datasets.connectome().normalised("rows"), options.seed)
    print(f"\n{result}\n\n{result.report}\n")
    figure, table = result.save(folder)
    print(f"{time.perf_counter() - begin:.0f} s; figure {figure}, result {table}")
    return 0


def _fit(options: argparse.Namespace) -> int:
    from jnm.studies import fit_evoked

    result = fit_evoked(
        options.evoked,
        options.forward,
        options.cov,
        condition=options.condition,
        connectome=options.connectome,
        parcels=options.parcels,
        out=options.out,
        short=options.short,
    )
    print(f"\n{result}\n\nFigure, result and this text: {options.out / 'evoked-fit'}.png, .nc, .txt")
    return 0


if __name__ == "__main__":
    sys.exit(main())
