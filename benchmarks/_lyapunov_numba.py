"""Lyapunov exponents of the PING network as a compiled loop over regions: the yardstick of benchmarks/lyapunov.py.

State and pushes go through one Runge-Kutta step of fourth order after the other, with the derivatives written out by hand
as a C program has them, and are made orthonormal by Gram and Schmidt's method (modified) after each interval.
"""

from typing import Any, NamedTuple

import numba
import numpy as np

import jnm


class Problem(NamedTuple):
    """A network as the loop wants it; [2] is excitatory, inhibitory."""

    W: np.ndarray
    tau_m: np.ndarray
    tau_s: np.ndarray
    delta: np.ndarray
    drive: np.ndarray
    C: np.ndarray
    gain: float


def problem(net: jnm.Network) -> Problem:
    node: Any = net.node
    drive = np.asarray(node.eta + node.I, float)
    parts = (np.array(part, float) for part in (net.connectome.weights, node.tau_m, node.tau_s, node.delta))
    return Problem(*parts, drive, np.array(node.C, float), float(net.coupling.gain))


def growth(network: Problem, x: np.ndarray, pushes: np.ndarray, intervals: int, steps: int, dt: float) -> np.ndarray:
    """log |R_ii| of each interval, [interval, k]; x [6 N] is r, v, s of both populations, pushes [6 N, k]."""
    return _loop(np.array(x, float), np.ascontiguousarray(np.array(pushes, float).T), *network, intervals, steps, dt)


@numba.njit(fastmath=True)
def _slope(
    x: Any, Q: Any, W: Any, tau_m: Any, tau_s: Any, delta: Any, drive: Any, C: Any, gain: float, dx: Any, dQ: Any
) -> None:
    n, k = W.shape[0], Q.shape[0]
    for p in range(2):
        a, r, v, s = (np.pi * tau_m[p]) ** 2, p * n, (2 + p) * n, (4 + p) * n
        for i in range(n):
            R, V = x[r + i], x[v + i]
            dx[r + i] = (delta[p] / (np.pi * tau_m[p]) + 2 * R * V) / tau_m[p]
            dx[v + i] = (V * V + drive[p] - a * R * R) / tau_m[p] + C[p, 0] * x[4 * n + i] + C[p, 1] * x[5 * n + i]
            dx[s + i] = (R - x[s + i]) / tau_s[p]
        for m in range(k):
            q, dq = Q[m], dQ[m]
            for i in range(n):
                R, V = x[r + i], x[v + i]
                dq[r + i] = 2 * (R * q[v + i] + V * q[r + i]) / tau_m[p]
                inward = C[p, 0] * q[4 * n + i] + C[p, 1] * q[5 * n + i]
                dq[v + i] = 2 * (V * q[v + i] - a * R * q[r + i]) / tau_m[p] + inward
                dq[s + i] = (q[r + i] - q[s + i]) / tau_s[p]
    for i in range(n):
        heard = 0.0
        for j in range(n):
            heard += W[i, j] * x[4 * n + j]
        dx[2 * n + i] += gain * heard
        dx[3 * n + i] += gain * heard
        for m in range(k):
            heard = 0.0
            for j in range(n):
                heard += W[i, j] * Q[m, 4 * n + j]
            dQ[m, 2 * n + i] += gain * heard
            dQ[m, 3 * n + i] += gain * heard


@numba.njit(fastmath=True)
def _loop(
    x: Any, Q: Any, W: Any, tau_m: Any, tau_s: Any, delta: Any, drive: Any, C: Any, gain: float, intervals: int,
    steps: int, dt: float,
) -> Any:  # fmt: skip
    k, size = Q.shape
    result = np.zeros((intervals, k))
    dx, dQ, at, Q_at, sum_x, sum_Q = (
        np.zeros(size), np.zeros((k, size)), np.zeros(size), np.zeros((k, size)), np.zeros(size), np.zeros((k, size))
    )  # fmt: skip
    for interval in range(intervals):
        for _ in range(steps):
            at[:] = x
            Q_at[:] = Q
            sum_x[:] = 0.0
            sum_Q[:] = 0.0
            for stage in range(4):
                _slope(at, Q_at, W, tau_m, tau_s, delta, drive, C, gain, dx, dQ)
                share = dt / 3 if stage in (1, 2) else dt / 6
                ahead = dt if stage == 2 else dt / 2
                for i in range(size):
                    sum_x[i] += share * dx[i]
                    at[i] = x[i] + ahead * dx[i]
                for m in range(k):
                    for i in range(size):
                        sum_Q[m, i] += share * dQ[m, i]
                        Q_at[m, i] = Q[m, i] + ahead * dQ[m, i]
            x += sum_x
            Q += sum_Q
        for m in range(k):
            for other in range(m):
                Q[m] -= np.sum(Q[other] * Q[m]) * Q[other]
            length = np.sqrt(np.sum(Q[m] * Q[m]))
            result[interval, m] = np.log(length)
            Q[m] /= length
    return result
