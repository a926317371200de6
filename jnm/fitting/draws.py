"""Draws from a posterior: intervals, predictive spectra, and a DataTree that ArviZ reads."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Float, PRNGKeyArray

from jnm._optional import require
from jnm.fitting.free import Build


@dataclasses.dataclass(frozen=True)
class Draws:
    """Draws of theta from a posterior, by chain."""

    theta: Float[np.ndarray, "chain draw parameter"]
    """Flattened, unconstrained."""
    stats: dict[str, np.ndarray]
    """Of the sampler, [chain, draw], by ArviZ's names: "lp", "diverging", "acceptance_rate", ..."""
    build: Build
    loss: Any

    def values(self) -> dict[str, Float[np.ndarray, "chain draw ..."]]:
        """The parameters in their own units, by name."""
        unravel = ravel_pytree(self.build.start())[1]
        dtype = ravel_pytree(self.build.start())[0].dtype
        flat = jnp.asarray(self.theta.reshape(-1, self.theta.shape[-1]), dtype)
        values = jax.vmap(lambda x: self.build.values(unravel(x)))(flat)
        shape = self.theta.shape[:2]
        return {
            name: np.asarray(values[name], float).reshape(*shape, *values[name].shape[1:]) for name in self.build.names
        }

    def interval(self, level: float = 0.9) -> dict[str, tuple[float, float]]:
        """Central intervals of each element of each parameter."""
        ends = [(1 - level) / 2, (1 + level) / 2]
        columns = np.concatenate(
            [x.reshape(self.theta.shape[0] * self.theta.shape[1], -1) for x in self.values().values()], 1
        )
        low, high = np.quantile(columns, ends, axis=0)
        return {label: (float(a), float(b)) for label, a, b in zip(self.build.labels, low, high, strict=True)}

    def spectra(self, key: PRNGKeyArray, draws: int = 100) -> Float[np.ndarray, "draw frequency component"]:
        """Posterior-predictive spectra: what another recording would give, one for each of some draws.

        Wants a likelihood with `csd(model)`, `averages` and `f_hz`, such as `jnm.WhittleLoss`; the diagonal is given.
        Draws in which the model does not rest stably are left out.
        """
        if not hasattr(self.loss, "csd"):
            raise ValueError(f"spectra: a {type(self.loss).__name__} predicts no spectra; wanted a jnm.WhittleLoss.")
        flat = self.theta.reshape(-1, self.theta.shape[-1])
        like = self.build.start()
        unravel, dtype = ravel_pytree(like)[1], ravel_pytree(like)[0].dtype
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        answer = []
        for index in rng.choice(len(flat), min(draws, len(flat)), replace=False):
            try:
                S = np.asarray(self.loss.csd(self.build(unravel(jnp.asarray(flat[index], dtype)))))
            except ValueError:  # unstable: the likelihood refuses it too
                continue
            M = self.loss.averages
            answer.append(np.einsum("fcc->fc", S).real * rng.gamma(M, 1 / M, size=S.shape[:2]))
        return np.array(answer)

    def to_datatree(self, key: PRNGKeyArray | None = None, draws: int = 100) -> Any:
        """An xarray DataTree with ArviZ's groups.

            >>> arviz.summary(draws.to_datatree())                             # ArviZ 1.0 and later
            >>> arviz.summary(arviz.from_datatree(draws.to_datatree()))        # ArviZ 0.23

        They are posterior, sample_stats, observed_data, and with a `key` posterior_predictive (spectra).
        """
        xarray = require("xarray", extra="io")
        groups = {"posterior": xarray.Dataset({n: _labelled(xarray, n, x) for n, x in self.values().items()})}
        for name, unit in self.build.units.items():
            groups["posterior"][name].attrs["units"] = unit
        if self.stats:
            groups["sample_stats"] = xarray.Dataset({n: (("chain", "draw"), x) for n, x in self.stats.items()})
        if hasattr(self.loss, "S"):
            f_hz = ("frequency", self.loss.f_hz, {"units": "Hz"})
            seen = np.einsum("fcc->fc", np.asarray(self.loss.S[0]))
            groups["observed_data"] = xarray.Dataset(
                {"spectrum": (("frequency", "component"), seen)}, {"frequency": f_hz}
            )
            if key is not None:
                predicted = self.spectra(key, draws)[None]
                axes = ("chain", "draw", "frequency", "component")
                groups["posterior_predictive"] = xarray.Dataset({"spectrum": (axes, predicted)}, {"frequency": f_hz})
        for group in groups.values():
            group.attrs["inference_library"] = "jnm"
        return xarray.DataTree.from_dict(groups)


def _labelled(xarray: Any, name: str, values: np.ndarray) -> Any:
    axes = [f"{name}_dim_{i}" for i in range(values.ndim - 2)]
    return xarray.DataArray(values, dims=("chain", "draw", *axes))
