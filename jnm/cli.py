"""The command line: `jnm demo` shows the whole chain, from a brain network to sensors and back by gradient; `jnm fit`
takes it to a user's recording; `jnm sweep` runs many models, `jnm verify` runs some of them again."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
    _add_sweeps(commands)
    return parser


def _add_sweeps(commands: Any) -> None:
    sweep = commands.add_parser(
        "sweep", help="run the batch of models that a TOML file describes; run again, it goes on"
    )
    sweep.add_argument(
        "config", type=Path, metavar="CONFIG.toml", help="model, what is swept, how it runs, what is kept"
    )
    sweep.add_argument("--store", type=Path, metavar="DIR.zarr", help="where the result goes (default CONFIG.zarr)")
    sweep.set_defaults(run=_sweep)

    verify = commands.add_parser("verify", help="compute members of a stored sweep again and compare them")
    verify.add_argument("file", type=Path, metavar="FILE", help="a store that jnm sweep made")
    verify.add_argument("--members", type=int, default=64, help="how many of them (default %(default)s)")
    verify.set_defaults(run=_verify)

    info = commands.add_parser("info", help="devices, precision, versions and memory: what to send with a question")
    info.set_defaults(run=_info)


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


def _sweep(options: argparse.Namespace) -> int:
    from jnm.sweeps.files import sweep_file

    begin = time.perf_counter()
    store, result = sweep_file(options.config, options.store)
    ok = int(result.ok.sum())
    sides = " x ".join(f"{dim} ({length})" for dim, length in zip(result.ok.dims, result.ok.shape, strict=True))
    print(f"{sides}: {ok} of {result.ok.size} members complete and finite, in {time.perf_counter() - begin:.0f} s.")
    for told in sorted(set(result.message.values.ravel()) - {""}):
        print(f"  {int((result.message == told).sum())} members: {told}")
    print(f"Result: {store}; in Python, jnm.sweeps.open_store({str(store)!r})")
    return 0


def _verify(options: argparse.Namespace) -> int:
    from jnm.sweeps.files import verify_file

    result = verify_file(options.file, options.members)
    print(result)
    return 0 if result.same else 1


def _info(options: argparse.Namespace) -> int:
    import platform

    import jax

    from jnm._version import versions
    from jnm.sweeps.memory import device_memory, host_memory, text

    devices = jax.local_devices()
    rows = {
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
        "python": f"{platform.python_version()} on {platform.platform()}",
        "devices": ", ".join(f"{device.platform} {device.id} ({device.device_kind})" for device in devices),
        "precision": "float64" if jax.config.jax_enable_x64 else "float32",  # pyright: ignore[reportAttributeAccessIssue]
        "memory": f"{text(device_memory(devices))} a device, {text(host_memory())} on this machine",
    }
    print("\n".join(f"{name:<10} {value}" for name, value in rows.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
