r"""What of a series follows a sine of known frequency: the lock-in amplifier, and phase locking.

    x(t) = mean + sum_k Im[H_k exp(i k w t)] + rest,        w = 2 pi f, t in ms and f in Hz,

with H_1 the complex answer to a sine of amplitude 1, in the convention of `jnm.stability.transfer_function`. It is found
by least squares under a Hann taper, exactly for any number of cycles; the harmonics are fitted beside it lest they leak.

The phase of a rhythm against n cycles in m of the sine is that of the slow demodulate of x at (n / m) f,

    z(t) = < x exp(-i (n / m) w t) >_window,        locking = |< z / |z| >|,

with a Hann window over three periods of the locked pattern (m cycles of the sine each), on which every other frequency
of a locked response vanishes: 1 means locked, 0 that the phases pass each other. Lachaux JP et al. (1999) Measuring
phase synchrony in brain signals. Hum Brain Mapp 8:194-208.
"""

import numpy as np
from jaxtyping import Complex, Float

_HARMONICS = 3  # fitted beside each other; what a weak field leaves above falls with the fourth power of its strength
PATTERNS = 3  # periods of the locked pattern in the window; from two on, a Hann window lets no other of its lines pass


def answer(ts: Float[np.ndarray, " time"], x: Float[np.ndarray, "time ..."], f_hz: float) -> Complex[np.ndarray, "..."]:
    """H of the head of this file: the answer of x, sampled at `ts` (ms), to sin(2 pi f t), as complex amplitude."""
    nyquist = 500.0 / (ts[1] - ts[0])
    turns = 2 * np.pi * f_hz / 1000 * ts
    known = [k for k in range(1, _HARMONICS + 1) if k * f_hz < 0.9 * nyquist]
    columns = np.stack([np.ones_like(ts), *(wave(k * turns) for k in known for wave in (np.sin, np.cos))], axis=1)
    taper = np.sqrt(np.hanning(len(ts) + 2)[1:-1])[:, None]
    found = np.linalg.lstsq(taper * columns, taper * x.reshape(len(ts), -1), rcond=None)[0]
    return (found[1] + 1j * found[2]).reshape(x.shape[1:])


def locking(
    ts: Float[np.ndarray, " time"], x: Float[np.ndarray, "time ..."], f_hz: float, n: int = 1, m: int = 1
) -> Float[np.ndarray, "..."]:
    """How firmly n cycles of x keep step with m of a sine of `f_hz`: 0 to 1; 0 where x does not move at all."""
    from scipy.signal import fftconvolve

    length = round(PATTERNS * m * 1000 / f_hz / (ts[1] - ts[0]))
    carrier = np.exp(-2j * np.pi * n / m * f_hz / 1000 * ts)[:, None]
    flat = x.reshape(len(ts), -1)
    window = np.hanning(length + 1)[1:, None] / length
    z = fftconvolve((flat - flat.mean(axis=0)) * carrier, window, mode="valid", axes=0)
    size = np.abs(z)
    still = size <= 1e-12 * np.abs(flat).max(axis=0, initial=0.0)
    return np.abs(np.mean(np.where(still, 0.0, z / np.where(still, 1.0, size)), axis=0)).reshape(x.shape[1:])
