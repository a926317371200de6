r"""Action potentials: the dipole moment they add to that of synapses, and how much of it there is at each frequency.

    Q_AP(t) = N eta (h * nu)(t) = N eta int h(s) nu(t - s) ds

h is the moment of a cell during one action potential, nu the firing rate. Its parts nearly cancel, so spikes hardly
show at low frequencies; above some tens of Hz they may. Every output spike goes with K input PSPs of net polarity p, and
if a cell's spikes are in step s times as well as the inputs that reach it, the two parts of a population's moment are

    |Q_AP| / |Q_syn| (f) = s |h(f)| / (K p |e(f)|),        e the moment of a cell during one PSP.

For one spike of a detailed L2/3 cell, K of 400 to 5000, p = 0.3 and s = 1 that is 0.2 to 3 % at 10 Hz and 4 to 50 % at
80 Hz, ten times as much for a burst in layer 5: it depends on morphology, K, p and s, so it is a band and never a curve.

Events: hnn-core 0.6 and NEURON (Neymotin et al. 2020, eLife 9:e51214); any h and e in fA m may be given.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jnm.meg.dipole import ALIGNMENT, CELLS, NA_M_PER_FA_M, cell_count
from jnm.meg.sensors import Numbers

LARGEST_DT = 0.1
"""ms: an action potential is over in one or two of them, and coarser steps miss its two lobes."""

Range = tuple[float, float]


def action_potential_moment(
    rate: Float[ArrayLike, "time ..."],
    kernel_fA_m: Float[ArrayLike, " lag"],
    dt: float,
    *,
    cells: float = CELLS,
    alignment: float = ALIGNMENT,
) -> Float[Array, "time ..."]:
    """Q_AP in nA m of a population that fires at `rate`: N eta (h * nu), causal; to be added to the synaptic moment.

    **Arguments**

    - `rate`: spikes a cell and ms, [time, ...], in steps of `dt` ms; before its start the population was silent.
    - `kernel_fA_m`: h, the moment of one cell from the start of one action potential on, fA m, in the same steps.
    - `cells`, `alignment`: as in `jnm.meg.Dipole`.

    Differentiable. Raises `ValueError` for steps longer than 0.1 ms, which do not resolve an action potential.

        Q = dipole(source) + jnm.meg.action_potential_moment(rate, h, dt=0.05)
    """
    rate, kernel = jnp.asarray(rate), jnp.asarray(kernel_fA_m, dtype=float)
    if not 0 < dt <= LARGEST_DT * (1 + 1e-9):
        raise ValueError(
            f"action_potential_moment: dt = {dt} ms; action potentials want steps of {LARGEST_DT} ms or less."
        )
    if kernel.ndim != 1 or rate.ndim == 0 or not kernel.size:
        raise ValueError(
            f"action_potential_moment: rate {list(rate.shape)} and kernel {list(kernel.shape)}; wanted [time, ...] and [lag]."
        )
    length = rate.shape[0] + kernel.size - 1  # padded, so that the end does not run into the start
    h = jnp.fft.rfft(kernel, length).reshape((-1,) + (1,) * (rate.ndim - 1))
    moment = jnp.fft.irfft(jnp.fft.rfft(rate, length, axis=0) * h, length, axis=0)[: rate.shape[0]]
    return moment * (dt * cell_count(cells, alignment) * NA_M_PER_FA_M)


def event_spectrum(event_fA_m: Numbers, dt: float, f_hz: Numbers) -> Float[np.ndarray, " frequency"]:
    """|Q(f)| of one event, fA m ms: the modulus of the Fourier transform of its moment (fA m, every `dt` ms)."""
    event, f = np.asarray(event_fA_m, float), np.asarray(f_hz, float)
    turns = np.exp(-2e-3j * np.pi * np.outer(f, dt * np.arange(event.size)))
    return np.abs(turns @ event) * dt


class Contribution(NamedTuple):
    """How much action potentials add to the moment of synapses at each frequency, as a band and what makes it wide."""

    f_hz: Float[np.ndarray, " frequency"]
    spike: Float[np.ndarray, "morphology frequency"]
    """|h(f)| of one action potential, fA m ms."""
    psp: Float[np.ndarray, "morphology frequency"]
    """|e(f)| of one PSP, fA m ms."""
    names: tuple[str, ...]
    """Of the morphologies."""
    bands: dict[str, Float[np.ndarray, "edge frequency"]]
    """|Q_AP| / |Q_syn|, lowest and highest: of "all", and of each range alone with the others at their (log) middle."""
    ranges: dict[str, Range]
    """Of convergence, polarity and synchrony."""

    def plot(self) -> object:
        """The bands over frequency, and what each range alone does to them; returns the Figure."""
        from jnm.plot.dipole import figure

        return figure(self)


def contribution(
    f_hz: Numbers,
    cells: dict[str, tuple[Numbers, Numbers]],
    dt: float,
    *,
    convergence: Range = (400.0, 5000.0),
    polarity: Range = (0.15, 0.6),
    synchrony: Range = (0.5, 2.0),
) -> Contribution:
    """|Q_AP| / |Q_syn| of a population over frequency, as bands over what is not known.

    **Arguments**

    - `f_hz`: frequencies, Hz.
    - `cells`: for each morphology the moments (action potential, PSP) in fA m, sampled every `dt` ms.
    - `convergence`: K, PSPs a cell receives for each spike it fires, lowest and highest.
    - `polarity`: p, the share of their moments that does not cancel (chosen about the 0.3 of the specification).
    - `synchrony`: s, how much better the cells' spikes are in step at a frequency than their inputs (chosen).

    Raises `ValueError` for ranges that are not positive and ordered.

        seen = jnm.meg.contribution(np.geomspace(5, 300, 60), {"L2/3": (ap, epsp)}, dt=0.025)
        seen.plot()
    """
    ranges = {"convergence": convergence, "polarity": polarity, "synchrony": synchrony}
    for name, (low, high) in ranges.items():
        if not 0 < low <= high < np.inf:
            raise ValueError(f"contribution: {name} = ({low}, {high}); wanted 0 < lowest <= highest.")
    f = np.asarray(f_hz, float)
    spike, psp = (np.array([event_spectrum(pair[i], dt, f) for pair in cells.values()]) for i in (0, 1))
    by_cell = np.stack([np.min(spike / psp, axis=0), np.max(spike / psp, axis=0)])
    factors = {
        "morphology": by_cell,
        "convergence": 1 / np.array(convergence[::-1])[:, None],
        "polarity": 1 / np.array(polarity[::-1])[:, None],
        "synchrony": np.array(synchrony)[:, None],
    }
    bands = {"all": _product(factors, widest=set(factors))}
    bands |= {name: _product(factors, widest={name}) for name in factors}
    return Contribution(f, spike, psp, tuple(cells), bands, ranges)


def _product(factors: dict[str, np.ndarray], widest: set[str]) -> np.ndarray:
    """Lowest and highest product: factors in `widest` at their edges, the others at their geometric mean."""
    band = np.ones((2, 1))
    for name, edges in factors.items():
        band = band * (edges if name in widest else np.sqrt(edges[:1] * edges[1:]))
    return band
