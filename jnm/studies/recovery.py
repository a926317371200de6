"""Does the gradient find the truth? A brain network is simulated, seen by a MEG helmet, and fitted from what was seen.

The data are made otherwise than they are fitted, lest the fit invert its own simulation: half the time step, another
seed, another conductor (a sphere whose centre lies 4.5 mm away), sensor noise of its own. Three numbers are recovered
from the log spectra of all sensors: the membrane time constant, the global coupling and the level of the noise. (With
the drive IE in place of the time constant the same spectra hardly tell drive from noise: the condition number of their
Fisher information, in relative changes, is then 4,000 instead of 230.)
"""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from jnm import fitting, meg, observe
from jnm._model import Drive
from jnm._optional import require
from jnm._param import Positive
from jnm.integration import simulate
from jnm.models import PING
from jnm.network import Connectome, Linear, Network

NAMES = ("time constant tau_m", "coupling gain", "noise sigma")
IE = 3.0  # drive to the excitatory cells: at a coupling of 10 a stable rest, slowest eigenvalue -0.093 +- 0.091i per ms
TRUTH = (8.0, 10.0, 0.2)  # ms, 1, 1/sqrt(ms)
START = (12.5, 6.0, 0.32)  # every one at least 1.5-fold off, still at rest
CELLS = 1e6  # aligned pyramidal cells a region: about 10 cm^2 at 1e5 per cm^2, so that MEG sees it (5 fT/sqrt(Hz))
DT, INTERVAL, BURN_IN = 0.1, 1.0, 300.0  # ms
SEGMENT, BAND = 500.0, (4.0, 60.0)  # ms, Hz
FIT_CENTRE, DATA_CENTRE = (0.0, 0.0, 45.0), (0.0, 4.0, 43.0)  # mm, head frame: of the fit's and of the data's sphere
HELMET_SHIFT = (0.0, 0.0, 50.0)  # mm: where the helmet stands above the head frame's origin


class Recording(eqx.Module):
    """A network under a helmet: `recording(network, key, duration)` gives sensor signals [time, channel], one a ms."""

    lead: meg.LeadField
    dipole: meg.Dipole
    sensors: meg.Sensors
    dt: float = eqx.field(static=True)

    def __call__(self, network: Network, key: PRNGKeyArray, duration: float) -> Float[Array, "time channel"]:
        brain_key, sensor_key = jax.random.split(key)

        def seen(t, y):
            return self.lead(self.dipole(network.source(t, y, Drive())))

        run = simulate(
            network,
            BURN_IN + duration,
            self.dt,
            key=brain_key,
            save_every=INTERVAL,
            discard=BURN_IN,
            save=seen,
            throw=False,
        )
        return run.ys + self.sensors.noise(sensor_key, run.ys.shape[0], 1000.0 / INTERVAL)


class Estimate(NamedTuple):
    """One recovered parameter."""

    name: str
    truth: float
    start: float
    value: float
    low: float
    high: float

    @property
    def error(self) -> float:
        """Relative error of the estimate."""
        return abs(self.value / self.truth - 1)


@dataclasses.dataclass(frozen=True)
class Recovery:
    """What was recovered, with all that a figure and a file need."""

    estimates: list[Estimate]
    fit: Any
    report: Any
    f_hz: np.ndarray
    spectra: dict[str, np.ndarray]  # data, start and fit: [frequency, channel]
    units: tuple[str, ...]
    layout: np.ndarray
    ts: np.ndarray
    v: np.ndarray  # [time, region] of the excitatory populations, a stretch of the data
    seed: int

    def __str__(self) -> str:
        rows = [f"{'parameter':<16}{'truth':>9}{'start':>9}{'fit':>9}   90 % interval     error"]
        for e in self.estimates:
            interval = f"[{e.low:.4g}, {e.high:.4g}]" if np.isfinite(e.low + e.high) else "no interval"
            rows.append(
                f"{e.name:<16}{e.truth:>9.4g}{e.start:>9.4g}{e.value:>9.4g}   {interval:<16}{100 * e.error:>6.1f} %"
            )
        return "\n".join(rows)

    def plot(self):
        """Network activity, sensor spectra, a topography, the loss and the recovered parameters, as one Figure."""
        import matplotlib.pyplot as plt

        from jnm import plot

        figure, ax = plt.subplot_mosaic("AAB;CDE", figsize=(12, 6.5), layout="constrained")
        plot.activity(self.ts, self.v, "v of E, from its mean", ax["A"])
        mags = np.array([unit == "fT" for unit in self.units])
        plot.spectra(self.f_hz, {name: s[:, mags] for name, s in self.spectra.items()}, "fT", ax["C"])
        band = (self.f_hz >= 8) & (self.f_hz <= 20)
        power = np.sqrt(self.spectra["data"][band].mean(axis=0))[mags]
        plot.topography(self.layout[mags], power, "8-20 Hz (fT/√Hz)", ax["B"])
        plot.losses(self.fit.losses, ax["D"])
        columns = np.array([e[1:] for e in self.estimates]).T
        truth, start, value, low, high = columns
        plot.recovery([e.name for e in self.estimates], truth, start, low, high, value, ax["E"])
        titles = dict(A="network", B="magnetometers, data", C="magnetometer spectra", D="fit", E="recovered")
        for panel, title in titles.items():
            ax[panel].set_title(title, loc="left", fontsize=10)
        return figure

    def to_xarray(self):
        """Spectra, estimates and the loss as one labelled Dataset."""
        xarray = require("xarray", extra="io")
        columns = np.array([e[1:] for e in self.estimates])
        return xarray.Dataset(
            {
                "psd": (("kind", "frequency", "channel"), np.stack(list(self.spectra.values()))),
                "estimate": (("parameter", "what"), columns),
                "loss": ("step", np.asarray(self.fit.losses)),
                "v": (("time", "region"), self.v),
            },
            {
                "kind": list(self.spectra),
                "frequency": ("frequency", self.f_hz, {"units": "Hz"}),
                "parameter": [e.name for e in self.estimates],
                "what": ["truth", "start", "fit", "low", "high"],
                "time": ("time", self.ts, {"units": "ms"}),
            },
            {
                "seed": self.seed,
                "data": f"dt {DT / 2} ms, sphere at {DATA_CENTRE} mm",
                "fit": f"dt {DT} ms, sphere at {FIT_CENTRE} mm",
            },
        )

    def save(self, folder: str | Path) -> tuple[Path, Path]:
        """Write `recovery.png` and `recovery.nc` into a folder that exists; the two paths."""
        figure, table = Path(folder) / "recovery.png", Path(folder) / "recovery.nc"
        self.plot().savefig(figure, dpi=130)
        self.to_xarray().to_netcdf(table, engine="h5netcdf")
        return figure, table


def network(connectome: Connectome, parameters: tuple[float, ...]) -> Network:
    """Next-generation PING nodes on a connectome with (tau_m, gain, sigma)."""
    tau_m, gain, sigma = parameters
    return Network(PING(IE=IE, tau_m=tau_m, sigma=sigma), connectome, Linear(gain=jnp.asarray(gain)))


def recover(
    connectome: Connectome,
    seed: int = 0,
    *,
    steps: int = 100,
    seconds: float = 60.0,
    window: float = 1.2,
    polish_keys: int = 20,
    progress: bool = True,
) -> Recovery:
    """Simulate a subject of `seconds` of MEG, fit three parameters by gradient descent, and compare with the truth.

    `connectome` (normalised by rows, with centres and orientations) carries the network; each of `steps` simulates
    `window` seconds anew, and Gauss-Newton steps on `polish_keys` such windows go the last part of the way. Raises
    `ValueError` for a connectome without centres.
    """
    centres, orientations = connectome.centres, connectome.orientations
    if centres is None or orientations is None:
        raise ValueError("recover: the connectome has no centres or orientations; jnm.datasets.connectome() has both.")
    data_key, movie_key, fit_key = jax.random.split(jax.random.key(seed), 3)
    sensors = meg.Sensors.canonical("neuromag", translation_mm=HELMET_SHIFT)
    dipole = meg.Dipole.qif(cells=CELLS, tau_m=8.0)

    def recording(centre, dt):
        lead = meg.LeadField.sphere(centres, orientations, sensors, jnp.asarray(centre))
        return Recording(lead, dipole, sensors, dt)

    truth, model = network(connectome, TRUTH), network(connectome, START)
    observed = jax.jit(lambda key: recording(DATA_CENTRE, DT / 2)(truth, key, seconds * 1000.0))(data_key)
    ours = recording(FIT_CENTRE, DT)
    loss = fitting.LogSpectralLoss(
        lambda m, key: ours(m, key, window * 1000.0), observed, dt=INTERVAL, segment=SEGMENT, band=BAND
    )
    theta, build = fitting.free(
        model, lambda m: (m.node.tau_m, m.coupling.gain, m.node.sigma), domains=(None, Positive(), Positive())
    )
    optimiser = optax.adam(optax.cosine_decay_schedule(0.2, steps, alpha=0.05))
    fit = fitting.polish(
        fitting.fit(loss, theta, build, optimiser, steps, fit_key, progress=progress), keys=polish_keys
    )
    report = fit.report()
    found = build(fit.theta)
    psd = jax.jit(lambda m, key: observe.psd(ours(m, key, seconds * 250.0), INTERVAL, SEGMENT)[1])
    f_hz, data = observe.psd(observed, INTERVAL, SEGMENT)
    inside = (f_hz >= BAND[0]) & (f_hz <= BAND[1])
    kinds = {"data": data, "start": psd(model, movie_key), "fit": psd(found, movie_key)}
    movie = simulate(truth, 700.0, DT, key=movie_key, save_every=1.0, discard=200.0)
    return Recovery(
        _estimates(report), fit, report, np.asarray(f_hz)[inside],
        {name: np.asarray(s)[inside] for name, s in kinds.items()}, sensors.units, sensors.layout(), movie.ts,
        np.asarray(movie.ys.v[:, 0]), seed,
    )  # fmt: skip


def _estimates(report: Any) -> list[Estimate]:
    ends = [(np.nan, np.nan) if row.interval is None else row.interval for row in report.rows]
    rows = zip(NAMES, TRUTH, START, report.rows, ends, strict=True)
    return [Estimate(name, truth, start, row.estimate, low, high) for name, truth, start, row, (low, high) in rows]
