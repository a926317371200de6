r"""Analytic signals: bands without a shift in phase, envelopes and phases, and how strongly an envelope waxes and wanes.

    z(t) = x(t) + i H[x](t) = A(t) exp(i theta(t))

is the signal with its negative frequencies removed; A is the envelope (Hilbert), theta the phase. A band keeps the
frequencies of the FFT from its lower to its upper edge, both included, and nothing else. The FFT takes the record for
periodic, so the jump from its end to its start rings into either end, fading only as 1 / (pi width time): leave out
several times 1 / (width of the band) there.

Gabor D (1946) Theory of communication. J IEE 93:429-441.
"""

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Complex, Float

from jnm.observe.checks import Band, as_samples, pass_frequencies
from jnm.observe.spectrum import psd


def analytic_signal(x: Float[Array, "time ..."], dt: float, band: Band | None = None) -> Complex[Array, "time ..."]:
    """The analytic signal z = x + i H[x] of x, or of what of x lies in a band; see the head of this file.

        >>> z = jnm.observe.analytic_signal(v, dt=1.0, band=(34.0, 74.0))    # abs(z) envelope, angle(z) phase

    Without a band it equals `scipy.signal.hilbert(x, axis=0)`. Differentiable.

    **Arguments**

    - `x`: samples, time first, any axes after it.
    - `dt`: time between samples, ms.
    - `band`: lower and upper edge, Hz, both included; None for all frequencies.

    Raises `ValueError` for a band outside 0 to the Nyquist frequency or narrower than the record resolves, and for
    samples that are not real.
    """
    x = as_samples("analytic_signal", x)
    n = x.shape[0]
    gain = 2.0 * pass_frequencies("analytic_signal", n, dt, band)
    gain[0] /= 2
    if n % 2 == 0:
        gain[-1] /= 2
    weights = jnp.asarray(gain, x.dtype).reshape((-1,) + (1,) * (x.ndim - 1))
    return jnp.fft.ifft(jnp.fft.rfft(x, axis=0) * weights, n, axis=0)  # padded: no negative frequencies


def bandpass(x: Float[Array, "time ..."], dt: float, band: Band) -> Float[Array, "time ..."]:
    """What of x lies in a band, by FFT: gain 1 from edge to edge, 0 outside, no shift in phase.

        >>> gamma = jnm.observe.bandpass(v, dt=1.0, band=(34.0, 74.0))

    Arguments and errors as in `analytic_signal`, of which it is the real part.
    """
    return analytic_signal(x, dt, band).real


def envelope(x: Float[Array, "time ..."], dt: float, band: Band | None = None) -> Float[Array, "time ..."]:
    """The Hilbert envelope A = |z|, in the unit of x; arguments and errors as in `analytic_signal`.

    >>> A = jnm.observe.envelope(v, dt=1.0, band=(34.0, 74.0))
    """
    return jnp.abs(analytic_signal(x, dt, band))


def phase(x: Float[Array, "time ..."], dt: float, band: Band | None = None) -> Float[Array, "time ..."]:
    """The instantaneous phase of x, radians in (-pi, pi], 0 at its peaks; arguments and errors as in `analytic_signal`.

    A phase means something where the band holds one rhythm. Take the mean off first, or a band that leaves out 0 Hz.

        >>> theta = jnm.observe.phase(v, dt=1.0, band=(4.0, 9.0))
    """
    return jnp.angle(analytic_signal(x, dt, band))


def envelope_spectrum(
    x: Float[Array, "time ..."], dt: float, band: Band | None = None, segment: float | None = None
) -> tuple[Float[np.ndarray, " frequency"], Float[Array, "frequency ..."]]:
    """Power spectral density of the envelope of a band: at what frequency does a rhythm wax and wane?

        >>> f_hz, S = jnm.observe.envelope_spectrum(v, dt=1.0, band=(34.0, 74.0), segment=4_000.0)

    An envelope holds no frequency above the width of its band. Arguments as in `analytic_signal`, and `segment`, ms, as
    in `psd`, whose result this is (Hann, half-overlapping, mean removed). Raises `ValueError` as they do.
    """
    return psd(envelope(x, dt, band), dt, segment)


def coefficient_of_variation(x: Float[Array, "time ..."]) -> Float[Array, "..."]:
    """Standard deviation over mean along time, of a positive quantity such as an envelope; dimensionless.

        >>> jnm.observe.coefficient_of_variation(jnm.observe.envelope(v, dt=1.0, band=(34.0, 74.0)))

    0 for a steady rhythm, sqrt(4 / pi - 1) = 0.523 for the envelope of Gaussian noise. Raises `ValueError` if a mean is
    not positive.
    """
    x = as_samples("coefficient_of_variation", x)
    mean = jnp.mean(x, axis=0)
    if not isinstance(mean, Tracer) and not np.all(np.asarray(mean) > 0):
        raise ValueError(
            f"coefficient_of_variation: a mean over time of {np.min(np.asarray(mean)):g}; wanted a positive quantity, "
            "such as an envelope."
        )
    return jnp.std(x, axis=0) / mean
