r"""Sensor noise: white, with a 1/f part, independent or as a measured covariance says.

    S(f) = M M' (1 + (knee/f)^exponent)                    [channel, channel], one-sided, per Hz

M is diagonal for the noise of the instruments; for an empty-room covariance C of samples at the rate f_s it colours
white numbers so that M M' = 2 C / f_s. `knee_hz` is where the 1/f part is as strong as the floor.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jnm._param import Positive, check_domains, param
from jnm.meg import mne as _mne
from jnm.meg.sensors import UNITS, Numbers, Sensors, count, find_channels
from jnm.meg.whitening import colouring, warn_of_rank


class SensorNoise(eqx.Module):
    """Gaussian noise of a helmet: made by `SensorNoise.white(sensors)` or `SensorNoise.from_mne(cov, info)`.

    noise = jnm.meg.SensorNoise.white(sensors, knee_hz=5.0)
    y = lead(Q) + noise.sample(key, len(Q), sfreq=1000.0)
    S = noise.csd(f_hz)                      # [frequency, channel, channel] for a likelihood
    """

    mixing: Float[Array, "channel rank"]
    """M, in the channels' units per sqrt(Hz)."""
    ch_names: tuple[str, ...] = eqx.field(static=True)
    ch_types: tuple[str, ...] = eqx.field(static=True)
    knee_hz: Float[Array, ""] | None = param(
        None, unit="Hz", domain=Positive(), doc="where the 1/f part equals the floor; None: white", optional=True
    )
    exponent: Float[Array, ""] = param(1.0, domain=Positive(), doc="slope of the power of the 1/f part")

    def __check_init__(self):
        check_domains(self)

    @classmethod
    def white(cls, sensors: Sensors, *, knee_hz: Any = None, exponent: Any = 1.0) -> "SensorNoise":
        """Independent noise of the sensors' own densities (`sensors.noise_density`); with a 1/f part above a knee."""
        return cls(jnp.diag(sensors.noise_density), sensors.ch_names, sensors.ch_types, knee_hz, exponent)

    @classmethod
    def from_mne(cls, cov: Any, info: Any, *, sfreq: float, knee_hz: Any = None, exponent: Any = 1.0) -> "SensorNoise":
        """Noise as an `mne.Covariance` (or its path) of single samples at `sfreq` Hz says, on an Info's good channels.

        It has the rank of the covariance without the active projectors of the Info, see `repr`, and warns where that is
        not what projectors and Maxwell filters leave. Raises `ValueError` for channels the covariance lacks, and one that
        has no noise.
        """
        if not sfreq > 0:
            raise ValueError(f"SensorNoise.from_mne: sfreq = {sfreq} Hz; wanted a positive sampling frequency.")
        arrays = _mne.covariance_arrays(cov, info)
        M = colouring(arrays.covariance, arrays.patterns, arrays.ch_names) * np.sqrt(2 / sfreq)
        warn_of_rank(M.shape[1], arrays.rank, arrays.ch_names)
        return cls(jnp.asarray(M, dtype=float), arrays.ch_names, arrays.ch_types, knee_hz, exponent)

    @property
    def rank(self) -> int:
        """Dimensions of the noise: fewer than channels after projectors or Maxwell filters."""
        return self.mixing.shape[1]

    @property
    def units(self) -> tuple[str, ...]:
        """The unit of each channel: fT, fT/cm or uV."""
        return tuple(UNITS[kind] for kind in self.ch_types)

    def csd(self, f_hz: Numbers) -> Float[Array, "frequency channel channel"]:
        """Cross-spectral density, one-sided, per Hz, at f_hz > 0 (with a white noise also at 0)."""
        floor = jnp.matmul(self.mixing, self.mixing.T, precision="highest")
        return self._shape(f_hz)[:, None, None] * floor[None]

    def psd(self, f_hz: Numbers) -> Float[Array, "frequency channel"]:
        """The diagonal of `csd`."""
        return self._shape(f_hz)[:, None] * jnp.sum(self.mixing**2, axis=1)[None]

    def sample(self, key: PRNGKeyArray, n_times: int, sfreq: float) -> Float[Array, "time channel"]:
        """`n_times` samples at `sfreq` Hz, with the density `csd` below sfreq/2; a 1/f part has no mean.

        It is made in the frequency domain, so its end goes over into its start.
        """
        if not sfreq > 0 or n_times < 2:
            raise ValueError(f"SensorNoise.sample: n_times = {n_times}, sfreq = {sfreq} Hz; wanted 2 or more, above 0.")
        white = jax.random.normal(key, (n_times, self.rank), self.mixing.dtype) * np.sqrt(sfreq / 2)
        if self.knee_hz is not None:
            f = np.fft.rfftfreq(n_times, 1 / sfreq)[1:]
            gain = jnp.concatenate([jnp.zeros(1, white.dtype), jnp.sqrt(self._shape(f))])
            white = jnp.fft.irfft(jnp.fft.rfft(white, axis=0) * gain[:, None], n_times, axis=0)
        return jnp.matmul(white, self.mixing.T, precision="highest")

    def pick(self, ch_names: tuple[str, ...]) -> "SensorNoise":
        """The named channels, in the order named; `ValueError` lists those that are not there."""
        index = find_channels(ch_names, self.ch_names, "noise")
        ch_types = tuple(self.ch_types[i] for i in index)
        return SensorNoise(self.mixing[index], tuple(ch_names), ch_types, self.knee_hz, self.exponent)

    def _shape(self, f_hz: Numbers) -> Float[Array, " frequency"]:
        f = np.asarray(f_hz, float)
        if self.knee_hz is None:
            return jnp.ones(f.shape, self.mixing.dtype)
        if not np.all(f > 0):
            raise ValueError(f"SensorNoise: 1/f noise has no density at {f.min():g} Hz; wanted frequencies above zero.")
        return 1 + (self.knee_hz / jnp.asarray(f, self.mixing.dtype)) ** self.exponent

    def __repr__(self) -> str:
        shape = "white" if self.knee_hz is None else "white and 1/f"
        return f"SensorNoise({count(self.ch_types)}; rank {self.rank}, {shape})"
