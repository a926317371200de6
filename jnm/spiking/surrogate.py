r"""Gradients through spikes: the same network with a threshold that has a derivative. Approximate, and for small networks.

A spike is a step function of v, whose derivative is zero almost everywhere. The runs here make exactly the spikes of
`LIFNetwork.run`, and in the backward pass a neuron fires in a step with a probability that changes with v as

    (dt / tau) f(u / w) / w,      u = v - v_th,      f of unit area, as wide as w (mV):

    superspike   f(x) = 1 / (2 (1 + |x|)^2)           Zenke & Ganguli, Neural Comput. 30:1514 (2018)
    arctan       f(x) = 1 / (pi (1 + x^2))            Fang et al., ICCV (2021)
    sigmoid      f(x) = s (1 - s), s = 1 / (1 + exp(-x))
    expected     f(x) = exp(-x^2 / 2) / sqrt(2 pi),   w = sqrt(Q / (2 tau_m)): the derivative of the probability
                                                      Phi(u / w) that membrane noise has lifted v over the threshold

The factor dt / tau makes the gradient one of a rate, which does not grow as steps become finer; without it, it grows
without bound through the loops of the network. None is the gradient of the mean over noise: the reset of a spike is not
differentiated, and what follows is carried along the one path that was drawn. tests/spiking/test_surrogate.py measures
the bias.
"""

import dataclasses
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray
from numpy.typing import ArrayLike

from jnm._model import Drive
from jnm.spiking.bits import unpack
from jnm.spiking.lif_block import Events, Stimulus, checked_drive, membrane_normals, sources_of
from jnm.spiking.lif_run import check_key, checked_events, event_quantiles, first_state, schedule

if TYPE_CHECKING:
    from jnm.spiking.lif import LIFNetwork, LIFState

Shape = Literal["superspike", "arctan", "sigmoid", "expected"]


@dataclasses.dataclass(frozen=True)
class Surrogate:
    """What stands in for the derivative of a spike (head of this file): a shape, its width (mV) and tau (ms).

    "expected" needs membrane noise, which gives its width. Raises `ValueError` for an unknown shape, or a width or tau
    that is not positive.
    """

    shape: Shape = "superspike"
    width: float = 1.0
    tau: float = 5.0

    def __post_init__(self):
        if self.shape not in get_args(Shape):
            raise ValueError(f"Surrogate: shape = {self.shape!r}; known are {', '.join(get_args(Shape))}.")
        if not (self.width > 0 and self.tau > 0):
            raise ValueError(f"Surrogate: width = {self.width} mV, tau = {self.tau} ms; wanted positive numbers.")


class Frozen(NamedTuple):
    """What is drawn for a run, so that only the parameters are left to vary: made by `freeze`."""

    start: "LIFState"
    normals: Float[Array, "step neuron"] | None
    arrived: Float[Array, "step neuron"]
    """External spikes at each neuron in each step."""


class SurrogateRun(NamedTuple):
    """What a run with surrogate gradients keeps, step by step, as `LIFRun` does."""

    V: Float[Array, " step"]
    """Mean potential, mV."""
    Phi: Float[Array, "step 3"]
    """Spikes that arrive at a neuron by kind (E, I, X), 1/ms."""
    rate: Float[Array, "step 2"]
    """Spikes of a neuron by population (E, I), 1/ms."""


class _Carry(NamedTuple):
    """A state, with spikes as numbers through which gradients flow."""

    v: Array
    g_E: Array
    g_I: Array
    g_X: Array
    held: Array
    spikes: Array
    step: Array


def freeze(
    net: "LIFNetwork",
    t1: float,
    dt: float,
    *,
    key: PRNGKeyArray | None = None,
    start: "LIFState | None" = None,
    events: ArrayLike | None = None,
) -> Frozen:
    """Draw start, membrane noise and external spikes of `net.run(t1, dt, key=key, ...)`.

    Arguments as there, `t1` and `dt` in ms. They are drawn once and not differentiated: the rate nu of the sources has
    no gradient. Raises `ValueError` as `LIFNetwork.run` does.
    """
    steps = schedule(t1, dt, None)[1]
    given = None if events is None else jnp.asarray(checked_events(net, events, steps))
    noisy = bool(jnp.any(net.Q > 0))
    check_key(net, key, noisy, given=given is not None)
    y = first_state(net, key, start)
    normals = None if key is None or not noisy else membrane_normals(key, y.step, steps, net.n, y.v.dtype)
    if given is None and key is not None and net.external_graph is not None:
        given = sources_of(net, key, y.step, event_quantiles(net, dt), steps)
    arrived = jnp.zeros((steps, net.n)) if given is None else _arrivals(net, given)
    return Frozen(y, normals, arrived.astype(y.v.dtype))


@eqx.filter_jit
def _arrivals(net: "LIFNetwork", events: Array) -> Array:
    graph = net.external_graph
    assert graph is not None
    listed = Events.of(events)
    return jax.lax.map(lambda k: graph.arrivals_of(*listed.at(k)), jnp.arange(len(events)))


def surrogate_run(
    net: "LIFNetwork",
    frozen: Frozen,
    dt: float,
    *,
    spike: Surrogate = Surrogate(),
    stimulus: Stimulus | None = None,
) -> SurrogateRun:
    """The run for which `frozen` was drawn, as a function of the network that has gradients, approximate ones.

        >>> frozen = jnm.spiking.freeze(net, 200.0, 0.1, key=jax.random.key(0))
        >>> rate = lambda q: jnm.spiking.surrogate_run(eqx.tree_at(lambda n: n.q_X, net, q), frozen, 0.1).rate[:, 0].mean()
        >>> jax.grad(rate)(net.q_X)

    **Arguments**

    - `spike`: the derivative that stands in for that of the step.
    - `stimulus`: as in `LIFNetwork.run`.

    It multiplies with the whole matrix of connections and keeps every step for the backward pass: n^2 operations a step,
    and some 40 n bytes. Raises `ValueError` for "expected" without noise.
    """
    if spike.shape == "expected" and frozen.normals is None:
        raise ValueError(
            "surrogate_run: 'expected' is the probability that noise makes a spike: it needs Q > 0 and a key."
        )
    connected = _connections(net)
    y = frozen.start
    begin = _Carry(*y[:5], unpack(y.fired, net.n).astype(y.v.dtype), y.step)

    def one(y, drawn):
        return _step(net, connected, y, drawn, dt, spike, stimulus)

    return jax.lax.scan(one, begin, (frozen.normals, frozen.arrived))[1]


def _step(
    net: "LIFNetwork",
    connected: Array,
    y: _Carry,
    drawn: tuple[Array | None, Array],
    dt: float,
    spike: Surrogate,
    stimulus: Stimulus | None,
) -> tuple[_Carry, SurrogateRun]:
    """`LIFNetwork.advance` with spikes as numbers."""
    normals, arrived = drawn
    dtype = y.v.dtype
    excitatory = jnp.arange(net.n) < net.n_excitatory
    drive = Drive() if stimulus is None else checked_drive(stimulus(y.step * dt), net.n, dtype)
    E, I = jnp.stack([jnp.where(excitatory, y.spikes, 0), jnp.where(excitatory, 0, y.spikes)]) @ connected
    X = arrived + jnp.where(excitatory, drive.synaptic, 0) * dt

    v = y.v + dt * net.slope(y, drive)
    v = v if normals is None else v + net.kick(dt) * normals
    free = y.held == 0
    w = jnp.sqrt(net.Q / (2 * net.tau_m)) if spike.shape == "expected" else jnp.asarray(spike.width, dtype)
    fired = (v >= net.v_th).astype(dtype)
    spikes = jnp.where(free, _fires(spike.shape, fired, v - net.v_th, w, jnp.asarray(dt / spike.tau, dtype)), 0)
    v = jnp.where(free & (spikes == 0), v, net.v_reset)  # without the derivative of the spike: it would explode
    held = jnp.where(spikes > 0, jnp.round(net.tau_ref / dt).astype(jnp.int32), jnp.maximum(y.held - 1, 0))

    g_E = y.g_E - dt / net.tau_E * y.g_E + net.q_E / net.tau_E * E
    g_I = y.g_I - dt / net.tau_I * y.g_I + net.q_I / net.tau_I * I
    g_X = y.g_X - dt / net.tau_X * y.g_X + net.q_X / net.tau_X * X
    kinds, sizes = jnp.stack([excitatory, ~excitatory]), jnp.stack([net.n_excitatory, net.n - net.n_excitatory])
    rate = jnp.sum(jnp.where(kinds, spikes[None], 0), axis=1) / jnp.maximum(sizes, 1) / dt
    kept = SurrogateRun(jnp.mean(v), jnp.mean(jnp.stack([E, I, X]), axis=1) / dt, rate)
    return _Carry(v, g_E, g_I, g_X, held, spikes, y.step + 1), kept


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _fires(shape: Shape, fired: Array, u: Array, width: Array, share: Array) -> Array:
    """The spikes as they are, 0 or 1, with the derivative of `share` of a smooth step in u / width."""
    return fired


@_fires.defjvp
def _fires_jvp(shape: Shape, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    fired, u, width, share = primals
    _, du, dwidth, _ = tangents
    return fired, share * _bump(shape, u / width) / width * (du - u / width * dwidth)


def _bump(shape: Shape, x: Array) -> Array:
    """Unit area, even, highest at 0."""
    if shape == "superspike":
        return 0.5 / (1 + jnp.abs(x)) ** 2
    if shape == "arctan":
        return 1 / (jnp.pi * (1 + x**2))
    if shape == "sigmoid":
        return jax.nn.sigmoid(x) * jax.nn.sigmoid(-x)
    return jnp.exp(-0.5 * x**2) / jnp.sqrt(2 * jnp.pi)


def _connections(net: "LIFNetwork") -> Float[Array, "sender receiver"]:
    graph = net.graph
    dense = jnp.asarray(graph.dense().T) if graph.rows is None else unpack(graph.rows, net.n)
    return dense.astype(net.tau_m.dtype)
