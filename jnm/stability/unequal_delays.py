r"""Exponents of a whole network at rest, its connections having delays of any lengths T_ij.

With unequal delays the eigenvectors of the weights are no patterns of the network. Its exponents l solve, for all regions
together,

    M(l) v = 0,     M(l) = l - A - B (W_ij e^(-l T_ij)) C,

with A what happens within regions, B how they answer to what they hear and C what they send. What was sent during the
longest delay, at Chebyshev points, turns them into eigenvalues of a matrix (Breda, Maset & Vermiglio, SIAM J. Sci.
Comput. 27:482, 2005); Newton's method gives each all its digits. The points become more until the rightmost exponents
stay where they were.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jnm._model import State
from jnm.network.network import Network
from jnm.stability.field import flat, sending
from jnm.stability.fixed_point import FixedPoint, at_rest
from jnm.stability.homogeneous import homogeneous
from jnm.stability.modes import parts_at
from jnm.stability.precision import concrete, in_double
from jnm.stability.root import singular
from jnm.stability.transverse import homogeneous_rest

_POINTS, _FINER = 16, 1.5  # of the past at first, and how many times more at each trial
_LARGEST = 3000  # rows of a matrix of which all eigenvalues are sought
_NEAR = 1e-4  # how far Newton's method may lead, relative to 1 + |l|, from an eigenvalue that is resolved


class DelaySpectrum(eqx.Module):
    """The rightmost exponents of a network with delays, those of the largest real part first."""

    exponents: Complex[Array, " k"]
    """Per ms; complex ones with their conjugates, and multiple ones as often as they are."""
    patterns: Complex[np.ndarray, "k region"]
    """What the regions send in each: size and phase, of length one."""
    about: FixedPoint
    """The state of rest, of the network without its delays, which do not move it."""

    @property
    def growth_rate(self) -> Float[Array, ""]:
        """Of the fastest growing or slowest decaying push, per ms."""
        with jax.enable_x64(True):
            return self.exponents[0].real

    @property
    def frequencies_hz(self) -> Float[Array, " k"]:
        """At which each push turns."""
        with jax.enable_x64(True):
            return 1000 * jnp.abs(self.exponents.imag) / (2 * jnp.pi)

    @property
    def stable(self) -> bool:
        """Whether every push dies away."""
        return bool(jax.lax.stop_gradient(self.growth_rate) < 0)


class Flow(NamedTuple):
    """The flow of pushes of the whole network: x' = A x + B h, h_i = sum_j W_ij s_j(t - T_ij), s = C x."""

    A: Any
    B: Any
    C: Any
    W: Any
    T: Any


def delay_spectrum(network: Network, state: State | FixedPoint | None = None, *, count: int = 6) -> DelaySpectrum:
    """The rightmost exponents of a network whose connections have delays of different lengths.

        >>> brain = jnm.datasets.connectome(n_regions=6).normalised("rows")
        >>> net = jnm.Network(jnm.PING(IE=2.0), brain, jnm.Linear(10.0), speed=5.0)
        >>> jnm.stability.delay_spectrum(net, count=4).growth_rate

    **Arguments**

    - `network`: of any node and coupling, with a conduction speed, or one for each connection; regions may differ.
    - `state`: a state of rest, or one next to it, of all regions; by default the homogeneous one, where regions are alike.
    - `count`: how many exponents are wanted.

    Differentiable in the parameters, the weights, the lengths and the speed where exponents are simple, under `jax.grad`
    but not under jit and vmap. For networks of a few dozen variables sent: the matrix has some tens of rows for each of
    them. Where all delays are equal, `dispersion` takes any number of regions.

    Raises `ValueError` for a network without delays, for regions that differ where `state` is left out, and for networks
    that are too large.
    """
    if not isinstance(network, Network) or network.speed is None or network.connectome.lengths is None:
        raise ValueError("delay_spectrum: wanted a jnm.Network with a conduction speed; without one take fixed_points.")
    if count < 1:
        raise ValueError(f"delay_spectrum: count = {count}; wanted one exponent at least.")
    with jax.enable_x64(True):
        plain = Network(network.node, network.connectome, network.coupling)
        point = _rest(plain, state)
        delays = jnp.asarray(network.connectome.lengths, float) / jnp.asarray(network.speed, float)
        flow = _flow(point.model, flat(point.state), delays)  # pyright: ignore[reportArgumentType]
        known = jax.tree.map(np.asarray, concrete(flow, "delay_spectrum"))
        roots = _rightmost(known, count)
        left, right = _null_vectors(known, roots)
        patterns = right @ known.C.T
        patterns = patterns[:, : network.n_regions] / np.linalg.norm(patterns, axis=1, keepdims=True)
        return DelaySpectrum(_moved(flow, roots, left, right), patterns, point)


@in_double
def _rest(plain: Any, state: Any) -> FixedPoint:
    """The state of rest that is meant, of all regions."""
    if state is None:
        alone = homogeneous_rest(plain, None).state
        wide = jax.tree.map(lambda one, all: jnp.broadcast_to(one, all.shape), alone, plain.init())
        return at_rest(plain, wide)
    state = state.state if isinstance(state, FixedPoint) else state
    like = jax.tree.leaves(plain.init())
    alike = all(jnp.shape(x)[-1:] == wanted.shape[-1:] for x, wanted in zip(jax.tree.leaves(state), like, strict=True))
    if not alike:
        homogeneous(plain)  # says why one region does not stand for all
        state = jax.tree.map(lambda x, wanted: jnp.broadcast_to(jnp.asarray(x), wanted.shape), state, plain.init())
    return at_rest(plain, state)


def _flow(model: Any, x: Float[Array, " n"], delays: Float[Array, "to from"]) -> Flow:
    weights = model.connectome.weights
    now = sending(model, x)
    copies = now.shape[0] // weights.shape[0]
    W, T = jnp.kron(jnp.eye(copies), weights), jnp.tile(delays, (copies, copies))
    return Flow(*parts_at(model, x, W @ now)[1], W, T)


def _rightmost(flow: Flow, count: int) -> Complex[np.ndarray, " k"]:
    """`count` exponents that another resolution of the past finds again."""
    before, points, rows = None, _POINTS, 0
    while (rows := len(flow.A) + points * len(flow.C)) <= _LARGEST:
        found = _resolved(flow, points)[:count]
        if before is not None and len(found) == count and _same(found, before):
            return found
        before, points = found, int(np.ceil(_FINER * points))
    raise ValueError(
        f"delay_spectrum: {len(flow.C)} values sent and {points} points of the past make {rows:,} rows; wanted "
        f"{_LARGEST:,} at most. Take fewer regions, a smaller count, or shorter delays."
    )


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return len(a) == len(b) and bool(np.all(np.abs(a - b) < 1e-8 * (1 + np.abs(a))))


def _resolved(flow: Flow, points: int) -> Complex[np.ndarray, " k"]:
    """The rightmost eigenvalues at this resolution, polished, up to the first that Newton's method leads away from."""
    guesses = np.linalg.eigvals(_with_past(flow, points))
    found = []
    for guess in guesses[np.lexsort((-guesses.imag, -np.round(guesses.real, 9)))]:
        root = singular(lambda l: _matrix(flow, l), complex(guess))
        if root is None or abs(root - guess) > _NEAR * (1 + abs(root)):
            break
        found.append(root)
    return np.array(sorted(found, key=lambda l: (-round(l.real, 9), -l.imag)), complex)


def _with_past(flow: Flow, points: int) -> Float[np.ndarray, "rows rows"]:
    """The flow of a push x and of what was sent at Chebyshev points of the past: s' = ds/dtheta, s(0) = C x."""
    longest = max(float(flow.T[flow.W != 0].max(initial=0.0)), 1e-9)
    times = longest / 2 * (np.cos(np.pi * np.arange(points + 1) / points) - 1)
    signs = np.append(0.5, np.append(np.ones(points - 1), 0.5)) * (-1.0) ** np.arange(points + 1)
    n, sent = len(flow.A), len(flow.C)
    heard = flow.W[:, :, None] * _interpolated(times, signs, -np.minimum(flow.T, longest))  # [to, from, point]
    reach = np.einsum("ni,ijk->nkj", flow.B, heard)
    matrix = np.zeros((n + sent * points,) * 2)
    matrix[:n, :n] = flow.A + reach[:, 0] @ flow.C
    matrix[:n, n:] = reach[:, 1:].reshape(n, -1)
    slopes = _slopes(times, signs)
    matrix[n:, :n] = np.kron(slopes[1:, :1], flow.C)
    matrix[n:, n:] = np.kron(slopes[1:, 1:], np.eye(sent))
    return matrix


def _interpolated(times: np.ndarray, signs: np.ndarray, at: np.ndarray) -> np.ndarray:
    """What each point contributes to the value of the polynomial at other times (barycentric formula)."""
    gaps = at[..., None] - times
    hit = np.abs(gaps) < 1e-14 * (1 + np.abs(times[-1]))
    shares = signs / np.where(hit, 1.0, gaps)
    shares = shares / shares.sum(axis=-1, keepdims=True)
    return np.where(hit.any(axis=-1, keepdims=True), hit.astype(float), shares)


def _slopes(times: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """The slopes of the polynomial at its points: rows sum to zero."""
    slopes = signs[None] / signs[:, None] / (times[:, None] - times[None] + np.eye(len(times)))
    np.fill_diagonal(slopes, 0.0)
    return slopes - np.diag(slopes.sum(axis=1))


def _matrix(flow: Flow, root: Any) -> tuple[Any, Any]:
    """M and dM/dl."""
    reach = flow.W * jnp.exp(-root * flow.T) if isinstance(root, Array) else flow.W * np.exp(-root * flow.T)
    eye = np.eye(len(flow.A))
    return root * eye - flow.A - flow.B @ reach @ flow.C, eye + flow.B @ (flow.T * reach) @ flow.C


def _null_vectors(flow: Flow, roots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The left and right null vector of M at each root; of multiple roots one for each time."""
    left, right, seen = [], [], []
    for root in roots:
        nth = sum(abs(root - other) < 1e-6 * (1 + abs(root)) for other in seen)
        u, _, vh = np.linalg.svd(_matrix(flow, complex(root))[0])
        left.append(u[:, -1 - nth].conj())
        right.append(vh[-1 - nth].conj())
        seen.append(root)
    return np.array(left), np.array(right)


def _moved(flow: Flow, roots: np.ndarray, left: np.ndarray, right: np.ndarray) -> Complex[Array, " k"]:
    """Roots with their derivatives, dl = -(u dM v) / (u M' v)."""

    def one(root, u, v):
        matrix, change = _matrix(flow, root)
        value = u @ (matrix @ v)
        return root - (value - jax.lax.stop_gradient(value)) / jax.lax.stop_gradient(u @ (change @ v))

    return jax.vmap(one)(jnp.asarray(roots), jnp.asarray(left), jnp.asarray(right))
