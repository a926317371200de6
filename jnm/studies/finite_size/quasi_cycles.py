r"""Quasi-cycles: rhythms that shot noise keeps alive where infinitely many neurons would rest.

Next to a Hopf point a population answers noise as a bell does. Linear theory has the variance of the synapses fall as
1 / n and grow as one over the distance to the Hopf point, here the rate -Re lambda at which a perturbation dies out;
the nested ensemble tells how far that holds. Klinshov & Kirillov, Phys. Rev. E 106 L062302 (2022), for the idea that
weak shot noise matters through resonance.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jnm.integration import simulate
from jnm.models import NMM2
from jnm.spiking import NestedShotNoise
from jnm.stability import closed_loop_psd, fixed_points

_GRID = 20_000  # frequencies over which linear theory is integrated, up to
_HIGHEST = 30.0  # cycles per tau_s, beyond which the synapse lets less than a millionth pass


@dataclasses.dataclass(frozen=True)
class QuasiCycles:
    """Amplitude of the synapse's fluctuations by parameter and number of neurons; made by `quasi_cycles`."""

    values: Float[np.ndarray, " value"]
    n: Float[np.ndarray, " size"]
    distance: Float[np.ndarray, " value"]
    """-Re lambda of the resting state, per ms: zero at the Hopf point."""
    frequency_hz: Float[np.ndarray, " value"]
    """At which it rings."""
    mean: Float[np.ndarray, " value"]
    """Of the synapse at rest, 1/ms."""
    linear: Float[np.ndarray, "value size"]
    """Amplitude by linear theory, sqrt(2 Var s), 1/ms."""
    runs: Float[np.ndarray, "value size run"]
    """Var s of each run of the nested ensemble, 1/ms^2."""

    @property
    def amplitude(self) -> Float[np.ndarray, "value size"]:
        """sqrt(2 Var s) of the nested ensemble: that of a sine of the same variance, 1/ms."""
        return np.sqrt(2 * np.mean(self.runs, axis=-1))

    @property
    def error(self) -> Float[np.ndarray, "value size"]:
        """Standard error of the amplitude."""
        spread = np.std(self.runs, axis=-1, ddof=1) / np.sqrt(self.runs.shape[-1])
        return spread / self.amplitude

    def plot(self, label: str = "parameter", axes: Any = None) -> Any:
        """Amplitude against n and against the distance to the Hopf point; returns the Figure."""
        from jnm.plot import finite_size

        return finite_size.quasi_cycles(self, label, axes)


def quasi_cycles(
    model: NMM2,
    where: Callable[[NMM2], Array],
    values: Sequence[float],
    sizes: Sequence[float],
    *,
    key: PRNGKeyArray,
    duration: float,
    dt: float,
    discard: float = 0.0,
    members: int = 1000,
    runs: int = 4,
) -> QuasiCycles:
    """The amplitude of the rhythm that n neurons make at rest, by parameter and n, beside linear theory.

        >>> quasi_cycles(jnm.ING(), lambda m: m.eta, (2.0, 4.0, 5.0), (1e3, 1e4), key=key, duration=1_500.0, dt=0.15)

    **Arguments**

    - `model`: a `jnm.NMM2` of one population with synapses of order 1 or 2; `where` selects the parameter that takes
      the `values`, at each of which the model must have one stable fixed point.
    - `sizes`: numbers of neurons, of which the nested ensemble runs `members`.
    - `duration`, `dt`, `discard`: of each of the `runs`, in ms.

    Raises `ValueError` for other models, for fewer than two runs, and where the resting state is not stable.
    """
    if np.ndim(model.init().r) or not model.order:
        raise ValueError("quasi_cycles: wanted one population with synapses of order 1 or 2, whose variance is finite.")
    if runs < 2:
        raise ValueError(f"quasi_cycles: runs = {runs}; an error takes two or more.")
    models = [eqx.tree_at(where, model, jnp.asarray(value, model.eta.dtype)) for value in values]
    points = [_resting(each, value) for each, value in zip(models, values, strict=True)]
    leading = [complex(point.eigenvalues[0]) for point in points]
    variance = np.array([_linear_variance(each) for each in models])

    def one(value, n, key):
        nested = NestedShotNoise(eqx.tree_at(where, model, value), n, members)
        return jnp.var(simulate(nested, discard + duration, dt, key=key, save=lambda t, y: y.s, discard=discard).ys)

    together = jax.jit(jax.vmap(jax.vmap(one, (None, 0, 0)), (None, 0, 0)))
    keys = jax.random.split(key, len(values) * len(sizes) * runs).reshape(len(values), len(sizes), runs)
    counts = jnp.broadcast_to(jnp.asarray(sizes, model.eta.dtype)[:, None], (len(sizes), runs))
    measured = [np.asarray(together(where(each), counts, own)) for each, own in zip(models, keys, strict=True)]
    return QuasiCycles(
        np.asarray(values, float),
        np.asarray(sizes, float),
        np.array([-each.real for each in leading]),
        np.array([1000 * abs(each.imag) / (2 * np.pi) for each in leading]),
        np.array([float(point.state.s) for point in points]),
        np.sqrt(2 * variance[:, None] / np.asarray(sizes, float)),
        np.array(measured),
    )


def _resting(model: NMM2, value: float) -> Any:
    stable = [point for point in fixed_points(model) if point.stable]
    if len(stable) != 1:
        raise ValueError(f"quasi_cycles: at {value:g} the model has {len(stable)} stable fixed points; wanted one.")
    return stable[0]


def _linear_variance(model: NMM2) -> float:
    """n Var s: the spectrum of the rate through the synapse, over all frequencies."""
    f_hz = 1000 * _HIGHEST / float(model.tau_s) * (np.arange(_GRID) + 0.5) / _GRID
    passed = (1 + (2 * np.pi * f_hz / 1000 * float(model.tau_s)) ** 2) ** -model.order
    density = np.asarray(closed_loop_psd(model, f_hz, 1).value)  # pyright: ignore[reportArgumentType]
    return float(np.sum(density * passed) * (f_hz[1] - f_hz[0]))
