r"""All rates at which a single population can rest: the roots of one scalar equation, so none is missed.

At rest s = r. With R = tau_m r, a QIF population (NMM2, and NMM1 with the QIF transfer) has

    eta + I = pi^2 R^2 - delta^2 / (4 pi^2 R^2) - C R,

a polynomial of fourth degree in R whose positive roots are all there is. With a sigmoid transfer,

    v0 + log(r / (2 e0 - r)) / rho = eta + I + tau_m C r,

whose two sides differ by a function with at most two turning points: between them it is monotone and each piece is
bracketed. Clusella, Koksal-Ersoz, Garcia-Ojalvo & Ruffini, Biol. Cybern. (2023), for the first.
"""

import itertools

import numpy as np
from jaxtyping import Float

from jnm._model import AbstractModel
from jnm.models.nmm1 import NMM1, QIF, Sigmoid
from jnm.models.nmm2 import NMM2


def resting_rates(model: AbstractModel) -> Float[np.ndarray, " root"] | None:
    """Every rate (1/ms) at which a single population rests; None for any other model."""
    if not isinstance(model, NMM1 | NMM2) or model.n_populations > 1:
        return None
    fields = (model.tau_m, model.delta, model.eta, model.I, model.C)
    if any(np.size(field) > 1 for field in fields):
        return None
    tau_m, delta, eta, I, C = (float(np.ravel(np.asarray(field))[0]) for field in fields)
    transfer = model.transfer if isinstance(model, NMM1) else QIF()
    if isinstance(transfer, QIF):
        return _of_qif(delta, eta + I, C) / tau_m
    if isinstance(transfer, Sigmoid):
        return _of_sigmoid(2 * float(transfer.e0), float(transfer.rho), float(transfer.v0), eta + I, tau_m * C)
    return None


def _of_qif(delta: float, drive: float, C: float) -> Float[np.ndarray, " root"]:
    roots = np.roots([np.pi**2, -C, -drive, 0.0, -(delta**2) / (4 * np.pi**2)])
    real = roots.real[(np.abs(roots.imag) < 1e-6 * np.abs(roots)) & (roots.real > 0)]
    return np.sort(real)


def _of_sigmoid(high: float, rho: float, v0: float, drive: float, feedback: float) -> Float[np.ndarray, " root"]:
    from scipy.optimize import brentq
    from scipy.special import expit

    def excess(q: float) -> float:  # in q = log(r / (high - r)), which has no ends to run into
        return v0 + q / rho - drive - feedback * high * expit(q)

    reach = rho * (abs(v0) + abs(drive) + abs(feedback) * high) + 1.0
    edges = np.array([-reach, *_turning_points(1 / (rho * feedback * high) if feedback else np.inf), reach])
    pieces = itertools.pairwise(edges)
    logits = [brentq(excess, a, b, xtol=1e-14) for a, b in pieces if excess(a) * excess(b) < 0]
    return high * expit(np.array(logits))


def _turning_points(share: float) -> list[float]:
    """Where sigma(q) (1 - sigma(q)) = share: nowhere outside (0, 1/4)."""
    if not 0 < share < 0.25:
        return []
    low = (1 - np.sqrt(1 - 4 * share)) / 2
    return [np.log(low / (1 - low)), -np.log(low / (1 - low))]
