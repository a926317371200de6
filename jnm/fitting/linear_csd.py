r"""The cross-spectrum of what sensors see of a model that rests in its own weak noise, in closed form.

Near the fixed point every region i is a linear system driven by its noise xi and by what the others send,

    dx_i = A_i x_i + b_i s_i + B_i xi_i,    s_i(t) = sum_j W_ij o_j . x_j(t - tau_ij),    Q_i = q_i . x_i + d_i s_i,

so at frequency f, with w = 2 pi f and R_i = (i w - A_i)^-1,

    Q = [q R B + u W_w (1 - g W_w)^-1 o R B] xi,    u = q R b + d,    g = o R b,    W_w = W e^(-i w tau),
    S_y(f) = 2 G <Q Q*> G^T + S_n,

one-sided per Hz. This is H = C (i w - A)^-1 B with the delays in A, but a network of N regions costs a solution of N
equations a frequency, not of N times the variables of a node, and delays cost nothing.
"""

from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jnm._model import AbstractModel, Drive, State
from jnm._param import param
from jnm.fitting.resting import Rest
from jnm.meg.dipole import Dipole
from jnm.network.heterogeneity import Heterogeneous
from jnm.network.network import Network
from jnm.stability.field import NO_TIME, flat, shaped

Seen = Literal["source", "output"]

_AT_ONCE = 32  # frequencies
_INLINE = 200_000
"""Operations, 3 n^3 a complex matrix, from which jaxlib's LAPACK shares a stack of matrices among the threads of XLA's
pool and waits for them on one of these threads: two such stacks at a time stop a machine of two cores for good (jaxlib
0.10.1, ParallelBatchMap in lapack_kernels.cc; a jacfwd through 90 regions did)."""


class Recorded(eqx.Module):
    """A model and what stands between it and the sensors, so that a fit can free both.

    >>> theta, build = jnm.free(Recorded(column, jnm.meg.Dipole.psp()), lambda r: (r.model.a, r.dipole.log_scale))
    """

    model: AbstractModel
    dipole: Dipole | None = None
    log_noise: Float[Array, ""] = param(0.0, doc="log of the factor on the density of the sensor noise")


class Linear(NamedTuple):
    """The linear flow at rest, by region: see the head of the file. Times in ms."""

    A: Float[Array, "region m m"]
    B: Float[Array, "region m noise"]
    q: Float[Array, "region m"] | Float[Array, "out m"]
    b: Float[Array, "region m"] | None
    o: Float[Array, "region m"] | None
    d: Float[Array, " region"] | None
    weights: Float[Array, "to from"] | None
    delays: Float[Array, "to from"] | None


def parts(thing: Any) -> tuple[AbstractModel, Dipole | None, Array | float]:
    """Model, dipole and the factor on the sensor noise's density of a model, `Recorded` or not."""
    if isinstance(thing, Recorded):
        return thing.model, thing.dipole, jnp.exp(thing.log_noise)
    return thing, None, 1.0


def linear(model: AbstractModel, rest: Rest, seen: Seen) -> Linear:
    """The linear flow of a model at its rest. Raises `ValueError` for delays inside a model around a network."""
    y = shaped(model, rest.x)
    plain = model.expanded if isinstance(model, Heterogeneous) else model
    if isinstance(plain, Network):
        return _network(plain, y, seen)
    if plain.delays(1.0) is not None:
        raise ValueError(
            f"The linear spectrum of a {type(plain).__name__} around a network with delays is not known, only that of the "
            "network itself (or of a jnm.network.Heterogeneous one); leave speed out, or compare simulated spectra."
        )
    return _alone(plain, y, seen)


def dynamics(flow: Linear) -> Float[Array, "n n"] | None:
    """The matrix of the whole flow, dx/dt = A x; None with delays, where there is none."""
    if flow.delays is not None:
        return None
    if flow.weights is None or flow.b is None or flow.o is None:
        return flow.A[0]
    N, m = flow.b.shape
    coupled = jnp.einsum("ip,ij,jq->ipjq", flow.b, flow.weights, flow.o)
    own = jnp.einsum("ipq,ij->ipjq", flow.A, jnp.eye(N, dtype=flow.A.dtype))
    return (own + coupled).reshape(N * m, N * m)


def growth(flow: Linear, f_hz: Float[np.ndarray, " frequency"]) -> Float[Array, ""]:
    """The largest real part of an exponent of the flow, per ms, without derivatives; with delays its sign: 1 or -1.

    With delays the exponents right of the axis are counted by the argument principle: going up it through the frequencies
    f_hz, det(D (1 - g W_w)), D = diag det(i w - A_i), turns by pi less for each of them than det D does. The turns of
    many modes near one frequency would wrap, so each eigenvalue of the step from one frequency to the next is counted by
    itself; one with a single root near the axis turns by less than pi however coarse the step.
    """
    flow = jax.lax.stop_gradient(flow)
    whole = dynamics(flow)
    if whole is not None:
        return jnp.max(jnp.linalg.eigvals(whole).real)

    def at(f):
        w = 2j * jnp.pi * f / 1000
        turned = jnp.linalg.slogdet(w * jnp.eye(flow.A.shape[-1], dtype=flow.A.dtype)[None] - flow.A)[0]
        return turned[:, None] * _feedback(flow, f)

    matrices = jax.lax.map(at, jnp.asarray(f_hz), batch_size=_together(flow))
    steps = jax.lax.map(lambda pair: jnp.linalg.eigvals(jnp.linalg.solve(*pair)), (matrices[:-1], matrices[1:]))
    alone, top = jax.lax.map(jnp.linalg.eigvals, flow.A), 2 * np.pi * float(f_hz[-1]) / 1000
    size = jnp.abs(alone.real)
    by_themselves = -jnp.sign(alone.real) * (jnp.arctan2(top - alone.imag, size) + jnp.arctan2(alone.imag, size))
    turned = jnp.sum(jnp.angle(steps)) - jnp.sum(by_themselves)
    count = jnp.sum(alone.real > 0) - jnp.round(turned / jnp.pi)
    return jnp.where(count > 0, 1.0, -1.0)


def moments(flow: Linear, mixing: Complex[Array, "out region"], f: Array) -> Complex[Array, "out noise"]:
    """Amplitudes of `mixing` times the sources for each unit of noise, at one frequency (Hz, of either sign)."""
    w = 2j * jnp.pi * f / 1000
    matrix = w * jnp.eye(flow.A.shape[-1], dtype=flow.A.dtype)[None] - flow.A
    if flow.b is None or flow.o is None or flow.d is None:
        return mixing @ (flow.q @ jnp.linalg.solve(matrix[0], flow.B[0].astype(matrix.dtype)))
    right = jnp.concatenate([flow.b[..., None], flow.B], axis=-1)
    solved = jnp.linalg.solve(matrix, right.astype(matrix.dtype))
    sent = jnp.einsum("im,imk->ik", flow.o, solved)
    moved = jnp.einsum("im,imk->ik", flow.q, solved)
    W = _travelled(flow, f)
    loop = jnp.eye(len(W), dtype=W.dtype) - sent[:, :1] * W
    heard = (mixing * (moved[:, 0] + flow.d)[None]) @ W
    through = jnp.linalg.solve(loop.T, heard.T).T
    each = through[:, :, None] * sent[None, :, 1:] + mixing[:, :, None] * moved[None, :, 1:]
    return each.reshape(len(mixing), -1)


def cross_spectra(flow: Linear, mixing: Array, f_hz: Float[Array, " frequency"]) -> Complex[Array, "frequency out out"]:
    """2 G <Q Q*> G^T of the head of the file, one-sided per Hz."""

    def at(f):
        y = moments(flow, mixing.astype(jnp.result_type(mixing, 1j)), f)
        return 2 / 1000 * (y @ y.conj().T)  # per ms^-1, two-sided -> per Hz, one-sided

    return jax.lax.map(at, f_hz, batch_size=_together(flow))


def _together(flow: Linear) -> int:
    """How many frequencies are solved at once."""
    if jax.default_backend() != "cpu":
        return _AT_ONCE
    N, m = flow.A.shape[:2]
    return min(_AT_ONCE, max(1, _INLINE // (3 * (N**3 + N * m**3))))


def mixing_of(lead: Any, dipole: Dipole | None, regions: int) -> Float[Array, "channel region"]:
    """The matrix from sources to channels: of a lead field, a matrix, a linear function, or None for the sources."""

    def seen(source):
        moment = source if dipole is None else dipole(source)
        if lead is None:
            return moment
        return lead(moment) if callable(lead) else jnp.asarray(lead, moment.dtype) @ moment

    return jnp.atleast_2d(jax.jacfwd(seen)(jnp.zeros(regions)))


def _alone(model: AbstractModel, y: State, seen: Seen) -> Linear:
    """A model without coupling: one block."""

    def source(x):
        t, y = jnp.asarray(NO_TIME), shaped(model, x)
        return jnp.atleast_1d(model.output(t, y) if seen == "output" else model.source(t, y, Drive())).ravel()

    def slope(x):
        return flat(model.drift(jnp.asarray(NO_TIME), shaped(model, x), Drive()))

    x = flat(y)
    amplitudes, noisy = _noise(model, y, 1)
    B = jnp.diag(flat(amplitudes))[:, noisy]
    return Linear(jax.jacfwd(slope)(x)[None], B[None], jax.jacfwd(source)(x), None, None, None, None, None)


def _network(network: Network, y: State, seen: Seen) -> Linear:
    """A network: its nodes are elementwise over regions, so one derivative a variable gives the blocks of all regions."""
    N, like, t = network.n_regions, jax.tree.leaves(y), jnp.asarray(NO_TIME)
    sizes = [leaf.size // N for leaf in like]
    structure, shapes = jax.tree.structure(y), [leaf.shape for leaf in like]

    def pack(tree) -> Array:
        return jnp.concatenate([leaf.reshape(-1, N) for leaf in jax.tree.leaves(tree)])

    def unpack(z):
        pieces = jnp.split(z, np.cumsum(sizes)[:-1])
        return jax.tree.unflatten(structure, [p.reshape(s) for p, s in zip(pieces, shapes, strict=True)])

    def flow(z, s):
        y, drive = unpack(z), Drive(arrive=lambda own: s)
        source = network.output(t, y) if seen == "output" else network.source(t, y, drive)
        return pack(network.drift(t, y, drive)), network.output(t, y), source

    z, own = pack(y), network.output(t, y)
    weights = network.connectome.weights
    s = weights @ own
    ones = jnp.ones((N,), z.dtype)

    def along(j):
        return jax.jvp(lambda z: flow(z, s), (z,), (jnp.zeros_like(z).at[j].set(ones),))[1]

    columns = [along(j) for j in range(len(z))]
    A, o, q = (jnp.stack([column[k] for column in columns], axis=-1) for k in range(3))  # [m, N, m], [N, m], [N, m]
    b, _, d = jax.jvp(lambda s: flow(z, s), (s,), (jnp.ones_like(s),))[1]
    amplitudes, noisy = _noise(network, y, N)
    blocks = pack(amplitudes).T[:, :, None] * jnp.eye(len(z), dtype=z.dtype)[None]
    delays = None
    if network.speed is not None and network.connectome.lengths is not None:
        delays = network.connectome.lengths / network.speed
    return Linear(jnp.moveaxis(A, 0, 1), blocks[:, :, noisy], q, b.T, o, d, weights, delays)


def _noise(model: AbstractModel, y: State, regions: int) -> tuple[tuple[Array, ...], np.ndarray]:
    """Noise amplitudes of all variables, 0 where there is none, and which variables of a region have noise at all."""
    given = model.diffusion(jnp.asarray(NO_TIME), y)
    given = (None,) * len(y) if given is None else given
    pairs = [(a, x) for a, x in zip(given, y, strict=True) if x is not None]
    filled = tuple(jnp.zeros_like(x) if a is None else jnp.broadcast_to(a, x.shape) for a, x in pairs)
    noisy = np.concatenate([np.full(x.size // regions, a is not None) for a, x in pairs])
    return filled, np.flatnonzero(noisy)


def _travelled(flow: Linear, f: Array) -> Complex[Array, "to from"]:
    weights = jnp.asarray(flow.weights)
    if flow.delays is None:
        return weights.astype(jnp.result_type(weights, 1j))
    return weights * jnp.exp(-2j * jnp.pi * f / 1000 * flow.delays)


def _feedback(flow: Linear, f: Array) -> Complex[Array, "to from"]:
    """1 - g W_w."""
    w = 2j * jnp.pi * f / 1000
    matrix = w * jnp.eye(flow.A.shape[-1], dtype=flow.A.dtype)[None] - flow.A
    solved = jnp.linalg.solve(matrix, jnp.asarray(flow.b)[..., None].astype(matrix.dtype))[..., 0]
    W = _travelled(flow, f)
    return jnp.eye(len(W), dtype=W.dtype) - jnp.sum(jnp.asarray(flow.o) * solved, axis=1)[:, None] * W
