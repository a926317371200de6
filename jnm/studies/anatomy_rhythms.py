r"""How rhythms wax and wane, how fast, and in what patterns: what `jnm.studies.anatomy` measures of a run.

A rhythm is the band around the peak of the spectrum, its envelope A the modulus of the analytic signal (Hilbert). A
steady rhythm has a constant envelope; the coefficient of variation of A, the spectrum of A and Tort's modulation index
say how unsteady one is, how fast it waxes and wanes, and whether a slow rhythm of the same signal sets the pace.

What a network does is told in the patterns of its connectome by projections on the left eigenvectors of the weights:
x = sum_k u_k (v_k x) with W u_k = L_k u_k, v_k W = L_k v_k and v_k u_l = 1 if k = l, else 0.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jnm import observe
from jnm.network import Connectome

SLOW, THETA = (1.0, 12.0), (4.0, 9.0)  # Hz: slow share of an envelope, and the phase of the modulation index
HALF_BAND = 20.0  # Hz either side of the rhythm's peak
EDGE, SEGMENT = 250.0, 2000.0  # ms: ends of the record into which the band rings, and segments of spectra


class Waxing(NamedTuple):
    """How a rhythm waxes and wanes; numbers are medians over regions."""

    rhythm: float
    """Its frequency, Hz."""
    variation: float
    """Coefficient of variation of the envelope."""
    pace: float
    """Where the envelope's spectrum peaks from 1 Hz on, Hz."""
    slow: float
    """Share of the envelope's power from 1 to 12 Hz."""
    modulation: float
    """Tort's modulation index of the envelope by the phase of the signal from 4 to 9 Hz."""
    slow_hz: Float[np.ndarray, " frequency"]
    spectrum: Float[np.ndarray, " frequency"]
    """Of the envelope relative to its mean, per Hz: its integral is about the square of the variation."""
    envelope: Float[Array, "time region"]


def waxing_and_waning(x: Float[np.ndarray, "time region"], rhythm: float | None = None) -> Waxing:
    """How the rhythm of signals waxes and wanes, with one sample a ms: that of their mean spectrum's peak above 12 Hz.

    Harmonics may be as high as the ground tone, so the peak is looked for from where the spectrum first reaches half its
    height to half as high again. With a `rhythm` (Hz) it is that one. Its band reaches 20 Hz to either side, or as far as
    the band of the slow phase.

        >>> jnm.studies.waxing_and_waning(v).variation
    """
    signal = jnp.asarray(x - np.mean(x, axis=0))
    peak = _ground_tone(*observe.psd(signal, 1.0, SEGMENT)) if rhythm is None else rhythm
    half, inside = min(HALF_BAND, peak - THETA[1]), slice(int(EDGE), -int(EDGE))
    envelope = observe.envelope(signal, 1.0, (peak - half, peak + half))[inside]
    slow_hz, power = observe.psd(envelope / jnp.mean(envelope, axis=0, keepdims=True), 1.0, min(SEGMENT, len(envelope)))
    slow = (slow_hz >= SLOW[0]) & (slow_hz <= SLOW[1])
    phases = observe.phase(signal, 1.0, THETA)[inside]
    variation, share, modulation = (
        float(np.median(np.asarray(values)))
        for values in (
            observe.coefficient_of_variation(envelope),
            jnp.sum(power[slow], axis=0) / jnp.sum(power, axis=0),
            observe.modulation_index(phases, envelope),
        )
    )
    spectrum = np.median(np.asarray(power), axis=1)
    return Waxing(peak, variation, _peak(slow_hz, power, SLOW[0]), share, modulation, slow_hz, spectrum, envelope)


def pattern_shares(connectome: Connectome, x: Float[np.ndarray, "time region"]) -> Float[np.ndarray, " mode"]:
    """Share of the variance in time of x [time, region] that lies in each eigenvector of the weights; they sum to one.

    Under detailed balance, A = diag(c) S, eigenvectors are orthogonal once each region is weighted by 1 / c, and so is
    the variance. Elsewhere they are not, and shares are those of the squared projections on the left eigenvectors.
    """
    modes, c = connectome.modes(), connectome.balance()
    length = 1.0 if c is None else np.linalg.norm(modes.right / np.sqrt(c)[:, None], axis=0)
    amounts = (np.asarray(x, float) - np.mean(x, axis=0)) @ modes.left.T * length
    power = np.mean(np.abs(amounts) ** 2, axis=0)
    return power / power.sum()


def _ground_tone(f_hz: np.ndarray, power: Float[Array, "frequency region"]) -> float:
    """Hz, of the mean over regions."""
    mean = np.where(f_hz > SLOW[1], np.mean(np.asarray(power), axis=1), 0.0)
    begin = f_hz[np.argmax(mean >= 0.5 * mean.max())]
    return float(f_hz[np.argmax(np.where((f_hz >= begin) & (f_hz <= 1.5 * begin), mean, 0.0))])


def _peak(f_hz: np.ndarray, power: Float[Array, "frequency region"], above: float) -> float:
    """Hz, of the mean over regions."""
    kept = f_hz >= above
    return float(f_hz[kept][np.argmax(np.mean(np.asarray(power), axis=1)[kept])])
