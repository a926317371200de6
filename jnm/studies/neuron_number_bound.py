"""What a recording can tell of the neurons of a dipole at best, in words: with and without a pulse whose size is known."""

import jax
import jax.numpy as jnp
import numpy as np

from jnm._param import cast
from jnm.fitting.identifiability import Information
from jnm.models import NMM2
from jnm.studies.finite_population import FinitePopulation
from jnm.studies.neuron_number_model import (
    COUNT,
    GAIN,
    KNOWN,
    NAMES,
    PROTOCOL,
    Protocol,
    centre,
    expected,
    setting_of,
    slopes,
    spread,
)
from jnm.studies.neuron_number_record import DipoleView


def neuron_bound(
    view: DipoleView,
    model: NMM2,
    n: float,
    gain: float,
    protocol: Protocol = PROTOCOL,
    *,
    evoked: bool = True,
    pulse_known: bool = True,
    known: tuple[float, ...] = KNOWN,
) -> Information:
    """The Fisher information of a recording, and of what is known in advance, about cells, gain, n and noise: print it.

        >>> print(jnm.studies.neuron_bound(view, jnm.Pyramidal(eta=0.0, C=8.0), 1e4, 1000.0, evoked=False).words())
        gain and n cannot be told apart: fix one; ...

    **Arguments** are those of `neuron_number_study`, and

    - `evoked`: whether there are pulses; without them gain and n are one number, gain^2 / n.
    - `pulse_known`: whether the size of the current in the cells is known; if not, it is a parameter too.
    """
    with jax.enable_x64(True):
        population = FinitePopulation.of(cast(model, jnp.float64), 1e4)
        setting = setting_of(population, view.density, protocol, known)
        theta = centre(setting).at[jnp.array([GAIN, COUNT])].set(jnp.log(jnp.array([gain, n])))
        is_, slope = expected(theta, setting), slopes(theta, setting)
        told = slope.ongoing / is_.ongoing[:, None]
        matrix = np.diag(np.asarray(spread(setting)) ** -2) + protocol.weight * np.asarray(told.T @ told)
        names = NAMES
        if evoked:
            moved = np.asarray(slope.evoked / jnp.sqrt(is_.variance)[:, None])
            if not pulse_known:  # the answer is as large as the pulse
                moved = np.column_stack([moved, np.asarray(is_.evoked / jnp.sqrt(is_.variance))])
                matrix, names = np.pad(matrix, (0, 1)), (*NAMES, "pulse")
            scatter = np.asarray(slope.variance / is_.variance[:, None])
            scatter = np.pad(scatter, ((0, 0), (0, len(matrix) - scatter.shape[1])))
            matrix = matrix + 2 * np.real(moved.conj().T @ moved) + scatter.T @ scatter
    return Information(matrix, tuple(names))
