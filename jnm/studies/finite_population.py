r"""A finite population of QIF cells by what the spectrum of its rate sees: X, C, delta, n.

The rate of n cells at rest fluctuates with the closed-loop spectrum (`jnm.stability.closed_loop_psd`), which for one
population is, with a = delta / (pi R), b = 2 pi R and w = 2 pi f, f in cycles per tau_m,

    S = S_chi(f; X, delta, n) / |1 - C G H|^2,    G = 2 R / ((i w + a)^2 + b^2),    H = (1 + i w tau_s / tau_m)^-order,
    X = eta + C R,    R = Psi(X; delta) = tau_m r.

After Klinshov & Kirillov, Phys. Rev. E 106 L062302 (2022), for synapses of any order.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jnm._param import Positive, check_domains, param
from jnm.models import NMM2, psi, shot_noise_psd
from jnm.stability import fixed_points

NAMES = ("X", "C", "delta", "n")
_HARMONICS = np.arange(1, 21)  # of a cell's line; later ones add little below f = 6


class FinitePopulation(eqx.Module):
    """One population of n QIF cells by the parameters that its spectrum sees: X, C, delta, n.

    >>> population = jnm.studies.FinitePopulation.of(jnm.Pyramidal(), n=1000)
    >>> population.psd(jnp.linspace(5.0, 400.0, 200))
    """

    X: Float[Array, ""] = param(doc="effective drive, eta + I + C R")
    C: Float[Array, ""] = param(doc="weight of the population's own synapses")
    delta: Float[Array, ""] = param(domain=Positive(), doc="half width of the Lorentzian of excitability")
    n: Float[Array, ""] = param(domain=Positive(), doc="number of neurons")
    tau_m: Float[Array, ""] = param(15.0, unit="ms", domain=Positive(), doc="membrane time constant")
    tau_s: Float[Array, ""] = param(10.0, unit="ms", domain=Positive(), doc="time constant of the synapses")
    order: int = eqx.field(default=2, static=True, metadata={"doc": "order of the synapses: 0, 1 or 2"})

    def __check_init__(self):
        check_domains(self)

    @classmethod
    def of(cls, model: NMM2, n: ArrayLike) -> "FinitePopulation":
        """The population of which an NMM2 is the mean field. Raises `ValueError` unless it is one, with one rest."""
        if model.init().r.shape != ():
            raise ValueError("FinitePopulation: wanted a jnm.NMM2 of one population and one region.")
        stable = [point for point in fixed_points(model) if point.stable]
        if len(stable) != 1:
            raise ValueError(f"FinitePopulation: {len(stable)} fixed points are stable; wanted a model with one.")
        rate = stable[0].state.r.astype(model.tau_m.dtype)  # found in float64
        X = model.eta + model.I + model.C * model.tau_m * rate
        return cls(X, model.C, model.delta, jnp.asarray(n, float), model.tau_m, model.tau_s, order=model.order)

    @property
    def eta(self) -> Float[Array, ""]:
        """The centre of the Lorentzian, X - C Psi(X; delta), constant input included."""
        return self.X - self.C * psi(self.X, self.delta)

    @property
    def model(self) -> NMM2:
        """The mean field."""
        return NMM2(self.tau_m, self.tau_s, self.delta, self.eta, self.C, order=self.order)

    @eqx.filter_jit
    def psd(self, f_hz: Float[Array, " frequency"]) -> Float[Array, " frequency"]:
        """The spectrum of its rate (1/ms), one-sided per Hz: that of `jnm.stability.closed_loop_psd`, in closed form."""
        f_tau = f_hz / 1000 * self.tau_m
        R, turning = psi(self.X, self.delta), 2j * jnp.pi * f_tau
        G = 2 * R / ((turning + self.delta / (jnp.pi * R)) ** 2 + (2 * jnp.pi * R) ** 2)
        loop = 1 - self.C * G * (1 + turning * self.tau_s / self.tau_m) ** -self.order
        shots = shot_noise_psd(f_tau, self.X, self.delta, self.n)
        return 2 / (1000 * self.tau_m) * shots / (loop.real**2 + loop.imag**2)

    def cells_at(self, f_tau: ArrayLike) -> Float[np.ndarray, "..."]:
        """How many cells have a line at a frequency (cycles per tau_m), counted per unit of it: n sum_k P(f / k) / k.

        P(nu) is the density of the cells' rates, 2 pi^2 nu g(pi^2 nu^2) with the Lorentzian g of X and delta.
        """
        rates = np.asarray(f_tau, float)[..., None] / _HARMONICS
        X, delta, n = float(self.X), float(self.delta), float(self.n)
        each = 2 * np.pi * rates * delta / ((np.pi**2 * rates**2 - X) ** 2 + delta**2)
        return n * np.sum(each / _HARMONICS, axis=-1)

    def free(self) -> Float[Array, " 4"]:
        """X, C, log delta and log n: the coordinates in which the population is fitted."""
        return jnp.stack([self.X, self.C, jnp.log(self.delta), jnp.log(self.n)])

    def at(self, theta: Float[Array, " 4"]) -> "FinitePopulation":
        """The population with these coordinates."""
        values = (theta[0], theta[1], jnp.exp(theta[2]), jnp.exp(theta[3]))
        return eqx.tree_at(lambda p: (p.X, p.C, p.delta, p.n), self, values)
