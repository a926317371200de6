r"""What a struck network does for weak inputs, in closed form: no simulation, delays for free, derivatives of what a fit moves.

All regions rest alike, so for s = sigma + i w the moments that unit inputs to each region bring about are

    Q(s) = m(s) (1 - g(s) c W(s))^-1 K(s),      W_ij(s) = w_ij exp(-s l_ij / speed),
    g = o (s - A)^-1 b,   m = q (s - A)^-1 b,   K_i(s) = int k((t - onset_i) / width) e^(-s t) dt,

with c the coupling gain; A, b, o and q are the derivatives of drift, output and source at rest. Going back to time on a line
sigma to the right of the imaginary axis, what wraps around the period has died away like exp(-sigma period), also where the
network rings for long (Abate J, Whitt W (1992) The Fourier-series method for inverting transforms of probability
distributions. Queueing Syst 10:5-88).

`jnm fit` simulates instead; for weak inputs both agree (tests).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Complex, Float, Int

from jnm._model import Drive
from jnm._param import as_parameter
from jnm.fitting.resting import rest
from jnm.network.connectome import Connectome
from jnm.network.coupling import Linear
from jnm.network.network import Network
from jnm.studies.evoked.model import INTERVAL, StruckNetwork, pulse

_FINE = INTERVAL / 2  # ms, at which the input is sampled: its pulses are 3 ms and more from onset to peak
_PERIOD = 1.4  # of the window
_DAMPING = 9.0  # sigma times the period: what wraps around is e^-9 of what it was
_HIGHEST = 70.0  # Hz: columns and brief inputs are low-pass, the data end at 40 Hz
_FEW = 4  # columns; for six of ninety rows OpenBLAS takes threads, which wait for one another far longer than they work

SPEED = (1.0, 20.0)
"""mm/ms: the range of conduction speeds a fit may try (white matter: some 1 to 20)."""


def with_delays(network: StruckNetwork, speed: float = 6.0) -> StruckNetwork:
    """The same brain with conduction delays, lengths / speed (mm/ms). Wants a connectome with lengths."""
    old = network.network
    if old.connectome.lengths is None:
        raise ValueError("with_delays: the connectome has no lengths; Connectome.from_centres and TVB files give them.")
    delayed = Network(old.node, old.connectome, old.coupling, speed=as_parameter(speed), speed_range=SPEED)
    return StruckNetwork(
        network=delayed, dipole=network.dipole, positions=network.positions, strength=network.strength,
        onset=network.onset, sweep=network.sweep, width=network.width,
    )  # fmt: skip


def fields(
    model: StruckNetwork,
    samples: int,
    step: float,
    order: Int[Array, " fine"],
    gain: Float[Array, "dimension region"],
    inputs: Float[Array, "region input"],
) -> Float[Array, "time dimension input"]:
    """What sensors see, at `samples` times `step` ms apart, of inputs to the regions, each column of `inputs` by itself.

    `order` rearranges the samples of the input's time course (`in_order`: as it is). The dipole's scale is in it.
    """
    duration = samples * step
    s = _line(duration)
    K = _input(model, s, duration, order)
    moments = _spread(model, s, K[:, :, None] * inputs[None])
    seen = jnp.matmul(gain[None], moments.real) + 1j * jnp.matmul(gain[None], moments.imag)
    return model.dipole(jnp.ones(())) * _back(seen, s, step * jnp.arange(1, samples + 1), duration)


def in_order(duration: float) -> Int[np.ndarray, " fine"]:
    """The order in which an input's time course stays as it is."""
    return np.arange(round(duration / _FINE))


def shuffled(duration: float, seed: int, block: float = 25.0) -> Int[np.ndarray, " fine"]:
    """An order that puts blocks of the input's time course elsewhere: the same values, at other times."""
    pieces = np.split(in_order(duration), round(duration / block))
    return np.concatenate([pieces[i] for i in np.random.default_rng(seed).permutation(len(pieces))])


def _line(duration: float) -> Complex[Array, " frequency"]:
    period = _PERIOD * duration
    k = np.arange(round(_HIGHEST * period / 1e3) + 1)
    return jnp.asarray(_DAMPING / period + 2j * np.pi * k / period)


def _spread(
    model: StruckNetwork, s: Complex[Array, " frequency"], struck: Complex[Array, "frequency region input"]
) -> Complex[Array, "frequency region input"]:
    """m (1 - g c W)^-1 of what is struck."""
    network = model.network
    assert isinstance(network.coupling, Linear)
    g, m = _node(network, s)
    weights, lengths, slowness = network.connectome.weights, network.connectome.lengths, jnp.zeros(())
    if network.speed is not None and lengths is not None:
        slowness = 1 / network.speed
    lengths = jnp.zeros_like(weights) if lengths is None else lengths
    given = jax.lax.stop_gradient((s, weights, lengths))
    return m[:, None, None] * _echoed(g * network.coupling.gain, slowness, struck, *given)


@jax.custom_jvp
def _echoed(
    loop: Complex[Array, " frequency"],
    slowness: Float[Array, ""],
    struck: Complex[Array, "frequency region input"],
    s: Complex[Array, " frequency"],
    weights: Float[Array, "to from"],
    lengths: Float[Array, "to from"],
) -> Complex[Array, "frequency region input"]:
    """(1 - loop W(s))^-1 of what is struck; s and the connectome are given, of the rest there are derivatives."""
    return _solved(_factored(loop, slowness, s, weights, lengths)[1], struck)


@_echoed.defjvp
def _echoed_jvp(at, along):
    """d x = (1 - loop W)^-1 (d struck + d(loop W) x): two products, where the matrices would have to be derived."""
    loop, slowness, struck, s, weights, lengths = at
    travelled, factors = _factored(loop, slowness, s, weights, lengths)
    x = _solved(factors, struck)
    heard, later = travelled @ x, (travelled * lengths[None]) @ x
    moved = along[0][:, None, None] * heard - (loop * s * along[1])[:, None, None] * later
    return x, _solved(factors, along[2] + moved)


def _factored(loop, slowness, s, weights, lengths):
    """W(s), and the factors of 1 - loop W(s), one frequency at a time.

    Stacks of large matrices jaxlib shares among its threads and waits for on one of them, which two stacks at a time
    stop for good on two cores (see `jnm.fitting.linear_csd`).
    """
    travelled = weights[None] * jnp.exp(-s[:, None, None] * (lengths * slowness)[None])
    matrices = jnp.eye(len(weights), dtype=s.dtype)[None] - loop[:, None, None] * travelled
    return travelled, jax.lax.map(jax.scipy.linalg.lu_factor, matrices)


def _solved(factors, right):
    """Some columns at a time, lest OpenBLAS take threads."""

    def one(pair):
        factors, right = pair
        parts = [right[:, k : k + _FEW] for k in range(0, right.shape[1], _FEW)]
        return jnp.concatenate([jax.scipy.linalg.lu_solve(factors, part) for part in parts], axis=1)

    return jax.lax.map(one, (factors, right))


def _node(network: Network, s: Complex[Array, " frequency"]) -> tuple[Complex[Array, " frequency"], ...]:
    """g and m: what a column at rest sends, and what its source does, for a unit of input."""
    node, t, received = network.node, jnp.zeros(()), jnp.sum(network.connectome.weights[0])
    x = rest(Network(node, Connectome(received[None, None]), network.coupling)).x
    shaped = ravel_pytree(jax.tree.map(jnp.squeeze, node.init()))[1]
    y = shaped(x)
    heard = network.coupling.gain * received * node.output(t, y)

    def drift(x: Array, more: Array) -> Array:
        return ravel_pytree(node.drift(t, shaped(x), Drive(synaptic=heard + more)))[0]

    A, b = jax.jacfwd(drift)(x, jnp.zeros(())), jax.jacfwd(drift, 1)(x, jnp.zeros(()))
    sends = jax.grad(lambda x: node.output(t, shaped(x)))(x)
    moves = jax.grad(lambda x: node.source(t, shaped(x), Drive()))(x)
    matrices = s[:, None, None] * jnp.eye(len(x), dtype=s.dtype)[None] - A[None]
    moved = jnp.linalg.solve(matrices, jnp.broadcast_to(b.astype(s.dtype)[None, :, None], (len(s), len(x), 1)))[..., 0]
    return moved @ sends.astype(s.dtype), moved @ moves.astype(s.dtype)


def _input(
    model: StruckNetwork, s: Complex[Array, " frequency"], duration: float, order: Array
) -> Complex[Array, "frequency region"]:
    """K, from samples of the input between the stimulus and the end of the window."""
    times = _FINE * jnp.arange(1, round(duration / _FINE) + 1)
    course = pulse((times[:, None] - model.input.onset[None]) / model.width, 2.0)[order]
    return _FINE * jnp.exp(-s[:, None] * times[None]) @ course.astype(s.dtype)


def _back(
    X: Complex[Array, "frequency ..."], s: Complex[Array, " frequency"], times: Float[Array, " time"], duration: float
) -> Float[Array, "time ..."]:
    """From the line back to time."""
    twice = jnp.where(jnp.arange(len(s)) == 0, 1.0, 2.0) / (_PERIOD * duration)
    wave = jnp.exp(times[:, None] * s[None]) * twice[None]
    flat = X.reshape(len(s), -1)
    return (wave.real @ flat.real - wave.imag @ flat.imag).reshape(len(times), *X.shape[1:])
