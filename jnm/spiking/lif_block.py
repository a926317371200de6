"""A block of steps of a LIF network, as it is compiled.

All chance of a block is drawn before its first step, each bit a function of key and number of the step: sources that
fire, and the random bits of the membrane noise, which become normals a stretch at a time, few enough to stay in the
cache of a core.

A step is many small kernels, and on a core most of its time is spent in calling them: what can be had of the whole
block, such as the rates, is taken of the whole block.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from jnm._model import Drive
from jnm.spiking.bits import listed, mean
from jnm.spiking.lif_record import Kept
from jnm.spiking.quantiles import normals_of, quantile_normals, quantile_words

if TYPE_CHECKING:
    from jnm.spiking.lif import LIFNetwork

Stimulus = Callable[[Any], Drive]

_MEMBRANE, _EVENTS = 1, 2  # independent streams of one key; 0 draws the start
_MEANS, _CURRENTS = 4, 11  # V and Phi of three kinds; currents of three kinds three times, held, reset


class Plan(NamedTuple):
    """What is compiled: a run with another plan compiles anew, one of another dt, or of more blocks, does not."""

    block: int
    """Steps of a block, a multiple of those of a stretch."""
    stretch: int
    noisy: bool
    spikes: bool
    currents: bool
    neurons: tuple[int, ...]


class Events(NamedTuple):
    """The sources that fire in each step, filled up with -1, and how many entries of its list a step needs."""

    which: Int[Array, "step most"]
    number: Int[Array, " step"]

    @classmethod
    def of(cls, which: Int[Array, "step most"]) -> "Events":
        """Those in a list of sources for each step."""
        places = jnp.arange(1, which.shape[1] + 1, dtype=jnp.int32)[None]
        return cls(which, jnp.max(jnp.where(which >= 0, places, 0), axis=1))

    def at(self, k: Array) -> tuple[Array, Any, int]:
        """Those of one step, as `Graph.arrivals_of` takes them."""
        return row_of(self.number, k), listed(row_of(self.which, k)), self.which.shape[1]


@eqx.filter_jit
def block_of(
    net: "LIFNetwork",
    y: Any,
    key: Any,
    dt: Array,
    count: Array,
    quantiles: Any,
    events: Any,
    stimulus: Any,
    plan: Plan,
) -> tuple[Any, Kept]:
    """`count` steps, at most a block of them: the state and what is kept."""
    begin = y.step
    words = quantile_words(membrane_key(key), begin, plan.block, net.n) if plan.noisy else None
    if quantiles is not None:
        events = sources_of(net, key, begin, quantiles, plan.block)
    events = None if events is None else Events.of(events)

    def one(k, kick, carry):
        y, kept = carry
        y = y._replace(step=begin + k)
        drive = Drive() if stimulus is None else checked_drive(stimulus(y.step * dt), net.n, y.v.dtype)
        new, risen = net.advance(y, dt, kick, None if events is None else events.at(k), drive)
        return _lean(new), jax.tree.map(lambda rows, row: _put(rows, row, k), kept, _kept(net, y, new, risen, dt, plan))

    def stretch(s, carry):
        first = s * plan.stretch
        kicks = None if words is None else _kicks(net, dt, words, first, plan.stretch, y.v.dtype)
        turn = lambda k, c: one(k, None if kicks is None else row_of(kicks, k - first), c)  # noqa: E731
        return jax.lax.fori_loop(first, jnp.minimum(first + plan.stretch, count), turn, carry)

    last, kept = jax.lax.fori_loop(0, -(-count // plan.stretch), stretch, (_lean(y), _nothing(y, plan)))
    rate = jax.vmap(net.shares)(kept.fired) / dt
    means = jnp.concatenate([kept.means, rate], axis=1)
    last = last._replace(arrived=kept.means[count - 1, 1:], rate=rate[count - 1], step=begin + count)
    return last, kept._replace(means=means, fired=kept.fired if plan.spikes else None)


def _lean(y: Any) -> Any:
    """What the next step needs of a state."""
    return y._replace(arrived=None, rate=None, step=None)


def _kicks(net: "LIFNetwork", dt: Array, words: Array, first: Array, count: int, dtype: Any) -> Array:
    """What the membrane noise adds to v in each of `count` steps."""
    kick = net.kick(dt)
    normals = normals_of(jax.lax.dynamic_slice_in_dim(words, first, count), net.n, dtype)
    return (kick[None] if kick.ndim else kick) * normals


def _kept(net: "LIFNetwork", y: Any, new: Any, risen: Array, dt: Array, plan: Plan) -> Kept:
    """What is kept of one step; who fired in any case, for the rates."""
    return Kept(
        jnp.stack([mean(new.v), *new.arrived]),
        _moved(net, y, new, risen, dt) if plan.currents else None,
        new.fired,
        new.v[jnp.asarray(plan.neurons)] if plan.neurons else None,
    )


def _nothing(y: Any, plan: Plan) -> Kept:
    """Room for what is kept of a block."""
    return Kept(
        jnp.zeros((plan.block, _MEANS), y.v.dtype),
        jnp.zeros((plan.block, _CURRENTS), y.v.dtype) if plan.currents else None,
        jnp.zeros((plan.block, y.fired.size), jnp.uint32),
        jnp.zeros((plan.block, len(plan.neurons)), y.v.dtype) if plan.neurons else None,
    )


def _moved(net: "LIFNetwork", y: Any, new: Any, risen: Array, dt: Array) -> Float[Array, " 11"]:
    """The numbers of `LIFCurrents` for one step."""
    synaptic, held = net.currents(y), y.held > 0
    return jnp.stack([
        *jax.vmap(mean)(synaptic), *jax.vmap(mean)(jnp.where(held[None], synaptic, 0.0)),
        *net.excitatory(synaptic), mean(held.astype(y.v.dtype)), mean(risen - new.v) / dt,
    ])  # fmt: skip


def row_of(rows: Array, k: Array) -> Array:
    """Row k, which is not counted from the end."""
    return jax.lax.dynamic_index_in_dim(rows, k, keepdims=False, allow_negative_indices=False)


def _put(rows: Array, row: Array, k: Array) -> Array:
    return jax.lax.dynamic_update_index_in_dim(rows, row, k, 0, allow_negative_indices=False)


def membrane_key(key: PRNGKeyArray) -> PRNGKeyArray:
    """The key of the membrane noise, of a run's key."""
    return jax.random.fold_in(key, _MEMBRANE)


def membrane_normals(key: PRNGKeyArray, step: Array, count: int, n: int, dtype: Any) -> Array:
    """Standard normals of `count` steps from number `step`: [step, neuron]."""
    return quantile_normals(membrane_key(key), step, count, n, dtype)


def sources_of(net: "LIFNetwork", key: PRNGKeyArray, first: Array, quantiles: Array, count: int) -> Array:
    """The sources that fire in each step of a block, filled up with -1.

    The union of M Poisson trains of rate nu: Poisson(M nu dt) events, each of a source that is as likely as any other.
    """
    assert net.external_graph is not None
    own, most = jax.random.fold_in(key, _EVENTS), quantiles.size
    steps = first + jnp.arange(count, dtype=jnp.int32)
    drawn = jax.vmap(lambda step: jax.random.bits(jax.random.fold_in(own, step), (1 + most,), jnp.uint32))(steps)
    number = jnp.sum(drawn[:, :1] > quantiles[None], axis=1, dtype=jnp.int32, keepdims=True)
    which = (drawn[:, 1:] % np.uint32(net.external_graph.senders)).astype(jnp.int32)
    return jnp.where(jnp.arange(most)[None] < number, which, -1)


def checked_drive(drive: Drive, n: int, dtype: Any) -> Drive:
    """A stimulus in arrays; raises `ValueError` for one that has another shape."""
    for name, value in (("current", drive.current), ("synaptic", drive.synaptic)):
        if jnp.shape(value) not in ((), (n,)):
            raise ValueError(
                f"LIFNetwork.run: the stimulus has a {name} of shape {list(jnp.shape(value))}; wanted [] or [{n}]."
            )
    return drive._replace(current=jnp.asarray(drive.current, dtype), synaptic=jnp.asarray(drive.synaptic, dtype))
