"""Whittle's likelihood of a Jansen-Rit column by hand, in NumPy and SciPy: the yardstick of benchmarks/whittle.py.

The fixed point by SciPy's root finder, the Jacobian written down, one solution for all frequencies, derivatives by forward
differences, the fit by SciPy's L-BFGS-B in the logarithms of the parameters.
"""

import numpy as np
from scipy.optimize import brentq, minimize

A, B, E0, RHO, V0, P = 3.25, 22.0, 0.0025, 0.56, 6.0, 0.4
STEP = 1e-7


def density(theta: np.ndarray, f_hz: np.ndarray) -> np.ndarray:
    """One-sided density of y1 - y2 per Hz, for theta = log (a, b, C, sigma)."""
    a, b, C, sigma = np.exp(theta)

    def rate(v):
        return 2 * E0 / (1 + np.exp(RHO * (V0 - v)))

    def slope(v):
        return RHO * rate(v) * (1 - rate(v) / (2 * E0))

    def potentials(v):
        y0 = A / a * rate(v)
        return y0, A / a * (P + 0.8 * C * rate(C * y0)) - B / b * 0.25 * C * rate(0.25 * C * y0) - v

    v = brentq(lambda v: potentials(v)[1], -200.0, 200.0, xtol=1e-13)
    y0 = potentials(v)[0]
    J = np.zeros((6, 6))
    J[[0, 1, 2], [3, 4, 5]] = 1.0
    for k, c in ((3, a), (4, a), (5, b)):
        J[k, k - 3], J[k, k] = -(c**2), -2 * c
    J[3, 1], J[3, 2] = A * a * slope(v), -A * a * slope(v)
    J[4, 0] = A * a * 0.8 * C**2 * slope(C * y0)
    J[5, 0] = B * b * (0.25 * C) ** 2 * slope(0.25 * C * y0)
    matrices = 2j * np.pi * f_hz[:, None, None] / 1000 * np.eye(6) - J
    struck = np.zeros((len(f_hz), 6, 1))
    struck[:, 4] = A * a * sigma
    y = np.linalg.solve(matrices, struck)[:, :, 0]
    return 2 / 1000 * np.abs(y[:, 1] - y[:, 2]) ** 2


def misfit(theta: np.ndarray, f_hz: np.ndarray, S: np.ndarray) -> float:
    """The mean of S / S_model + log S_model."""
    model = density(theta, f_hz)
    return float(np.mean(S / model + np.log(model)))


def gradient(theta: np.ndarray, f_hz: np.ndarray, S: np.ndarray) -> tuple[float, np.ndarray]:
    """The misfit, and its slopes by forward differences."""
    here = misfit(theta, f_hz, S)
    return here, np.array([(misfit(theta + STEP * e, f_hz, S) - here) / STEP for e in np.eye(len(theta))])


def fitted(theta: np.ndarray, f_hz: np.ndarray, S: np.ndarray) -> tuple[np.ndarray, int]:
    """The parameters of the least misfit, and how many misfits it took."""
    options = {"ftol": 1e-14, "gtol": 1e-7, "maxiter": 500}
    found = minimize(misfit, theta, (f_hz, S), "L-BFGS-B", options=options)
    return found.x, int(found.nfev)
