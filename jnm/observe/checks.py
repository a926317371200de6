"""What the observables refuse, each with the cure: shapes, bands, signals that do not vary."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

Band = tuple[float, float]


def as_samples(who: str, x: Any, wanted: str = "[time, ...]", ndim: int | None = None) -> Float[Array, "time ..."]:
    """Real samples in floating point. Raises `ValueError` for scalars, complex numbers, or another number of axes."""
    x = jnp.asarray(x)
    if x.ndim == 0 or jnp.iscomplexobj(x) or ndim not in (None, x.ndim):
        raise ValueError(
            f"{who}: got samples of shape {x.shape} and dtype {x.dtype}; wanted real {wanted}, time first."
        )
    if x.shape[0] < 2:
        raise ValueError(f"{who}: {x.shape[0]} sample is too short a record; time is the first axis, wanted {wanted}.")
    return x.astype(jnp.result_type(x.dtype, float))


def check_alike(who: str, **arrays: Array) -> None:
    """Raise `ValueError` unless all arrays have one shape."""
    if len({x.shape for x in arrays.values()}) > 1:
        shapes = ", ".join(f"{name} {list(x.shape)}" for name, x in arrays.items())
        raise ValueError(f"{who}: the shapes differ ({shapes}); wanted the same times and regions in both.")


def check_varies(who: str, x: Array) -> None:
    """Raise `ValueError` if a series is constant in time, so that it has no correlation, or is not finite."""
    if isinstance(x, Tracer):
        return
    spread = np.ptp(np.asarray(x), axis=0)
    flat = np.argwhere(~(np.isfinite(spread) & (spread > 0)))
    if len(flat):
        raise ValueError(
            f"{who}: {len(flat)} of {spread.size} series are constant in time or not finite, the first at "
            f"{flat[0].tolist()}; leave them out."
        )


def pass_frequencies(who: str, samples: int, dt: float, band: Band | None) -> Float[np.ndarray, " frequency"]:
    """1 for each frequency of the FFT that lies inside the band, edges included, and 0 elsewhere.

    Raises `ValueError` for a band that does not lie between 0 and the Nyquist frequency, or between two frequencies.
    """
    if not dt > 0:
        raise ValueError(f"{who}: dt = {dt} ms; the time between samples must be positive.")
    f_hz = np.fft.rfftfreq(samples, dt / 1000.0)
    if band is None:
        return np.ones(len(f_hz))
    low, high = band
    nyquist = 500.0 / dt
    if not 0 <= low < high <= nyquist:
        raise ValueError(
            f"{who}: band = ({low:g}, {high:g}) Hz; wanted 0 <= low < high <= {nyquist:g} Hz, the Nyquist frequency "
            f"of samples {dt:g} ms apart."
        )
    inside = (f_hz >= low * (1 - 1e-9)) & (f_hz <= high * (1 + 1e-9))  # edges as meant, whatever their rounding
    if not inside.any():
        raise ValueError(
            f"{who}: no frequency of a record of {samples * dt:g} ms ({1000 / (samples * dt):g} Hz apart) lies in the "
            f"band ({low:g}, {high:g}) Hz; record longer or widen the band."
        )
    return inside.astype(float)
