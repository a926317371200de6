"""Runs of a LIF network: blocks of steps on the device, one after the other, and what is kept of them.

Noise and external events of a block are drawn at once, each a function of key and number of the step, so that a run may
be cut anywhere. Of a block come back its population means, step by step, and bits for the neurons that fired; the spikes
are read off these before the next block, and no raster is ever held.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray
from numpy.typing import ArrayLike

from jnm._model import Drive
from jnm._progress import progress_bar
from jnm.spiking.bits import listed, mean
from jnm.spiking.lif_record import Kept, LIFRun, result, spikes_of
from jnm.spiking.quantiles import quantile_normals

if TYPE_CHECKING:
    from jnm.spiking.lif import LIFNetwork, LIFState

Stimulus = Callable[[Any], Drive]

_BLOCK_STEPS, _BLOCK_BYTES = 1000, 8e6  # normals of a block; more than the cache holds is slower
_START, _MEMBRANE, _EVENTS = range(3)  # independent streams of one key
_MEANS, _CURRENTS = 6, 8  # V, Phi of three kinds, two rates; currents of three kinds twice, held, reset


class _Plan(NamedTuple):
    """What is compiled: a run with another plan compiles anew, one of another dt, or of more blocks, does not."""

    block: int
    noisy: bool
    spikes: bool
    currents: bool
    neurons: tuple[int, ...]


def run(
    net: "LIFNetwork",
    t1: float,
    dt: float,
    *,
    key: PRNGKeyArray | None,
    start: "LIFState | None",
    save_every: float | None,
    stimulus: Stimulus | None,
    events: ArrayLike | None,
    spikes: bool,
    currents: bool,
    neurons: Iterable[int],
    progress: bool,
) -> LIFRun:
    """`LIFNetwork.run`, where the arguments are described."""
    stride, saved = schedule(t1, dt, save_every)
    steps = stride * saved
    given = None if events is None else checked_events(net, events, steps)
    noisy = bool(np.any(np.asarray(net.Q) > 0))
    check_key(net, key, noisy, given is not None)
    many = key is not None and key.ndim == 1
    y = first_state(net, key, start)
    block = int(np.clip(_BLOCK_BYTES / (4 * net.n), 1, min(_BLOCK_STEPS, steps)))
    quantiles = None if given is not None or net.external_graph is None else event_quantiles(net, dt)
    plan = _Plan(block, noisy, spikes, currents, _checked_neurons(net, neurons))
    first = int(np.max(np.asarray(y.step)))
    kept, fired = [], []
    with progress_bar(steps, progress, unit="step", unit_scale=True) as bar:
        for begin in range(0, steps, block):
            count = min(block, steps - begin)
            now = None if given is None else _rows(given, begin, block)
            inputs = (jnp.asarray(dt, y.v.dtype), jnp.asarray(count), quantiles, now, stimulus, plan)
            y, out = _block(net, y, key, *inputs)
            out = jax.tree.map(lambda x, end=count: np.asarray(x)[..., :end, :], out)
            if out.fired is not None:
                fired.append(spikes_of(out.fired if many else out.fired[None], first + begin))
            kept.append(out._replace(fired=None))
            bar.update(count)
    whole = jax.tree.map(lambda *x: np.concatenate(x, axis=-2), *kept)
    _check_finite(whole.means, first, dt)
    ts = (first + stride * np.arange(1, saved + 1)) * dt
    return result(whole, fired, ts, stride, dt, net.n, many, y)


def _block(net: "LIFNetwork", y: Any, key: Any, *inputs: Any) -> tuple[Any, Kept]:
    """One block of one run; or of several, which on a processor are sent to its cores one by one.

    Vectorised over runs the loops over spikes would take as many turns as the busiest of them needs, and each step
    would read the graph.
    """
    if key is None or key.ndim == 0:
        return _steps(net, y, key, *inputs)
    if jax.default_backend() != "cpu":
        return eqx.filter_vmap(_steps, in_axes=(None, 0, 0, *[None] * len(inputs)))(net, y, key, *inputs)
    each = [_steps(net, jax.tree.map(lambda x, k=k: x[k], y), key[k], *inputs) for k in range(key.shape[0])]
    return jax.tree.map(lambda *x: jnp.stack(x), *each)


@eqx.filter_jit
def _steps(
    net: "LIFNetwork",
    y: Any,
    key: Any,
    dt: Array,
    count: Array,
    quantiles: Any,
    events: Any,
    stimulus: Any,
    plan: _Plan,
) -> tuple[Any, Kept]:
    """`count` steps, at most a block of them: the state and what is kept."""
    kicks = None
    if plan.noisy:
        kick = net.kick(dt)
        kicks = (kick[None] if kick.ndim else kick) * membrane_normals(key, y.step, plan.block, net.n, y.v.dtype)
    if quantiles is not None:
        events = sources_of(net, key, y.step, quantiles, plan.block)

    def turn(k, carry):
        y, kept = carry
        drive = Drive() if stimulus is None else checked_drive(stimulus(y.step * dt), net.n, y.v.dtype)
        new, risen = net.advance(y, dt, None if kicks is None else kicks[k], listed_events(events, k), drive)
        now = Kept(
            jnp.stack([mean(new.v), *new.arrived, *new.rate]),
            _moved(net, y, new, risen, dt) if plan.currents else None,
            new.fired if plan.spikes else None,
            new.v[jnp.asarray(plan.neurons)] if plan.neurons else None,
        )
        return new, jax.tree.map(lambda all, one: jax.lax.dynamic_update_index_in_dim(all, one, k, 0), kept, now)

    empty = Kept(
        jnp.zeros((plan.block, _MEANS), y.v.dtype),
        jnp.zeros((plan.block, _CURRENTS), y.v.dtype) if plan.currents else None,
        jnp.zeros((plan.block, y.fired.size), jnp.uint32) if plan.spikes else None,
        jnp.zeros((plan.block, len(plan.neurons)), y.v.dtype) if plan.neurons else None,
    )
    return jax.lax.fori_loop(0, count, turn, (y, empty))


def membrane_normals(key: PRNGKeyArray, step: Array, count: int, n: int, dtype: Any) -> Array:
    """Standard normals of `count` steps from number `step`: [step, neuron]."""
    return quantile_normals(jax.random.fold_in(key, _MEMBRANE), step, count, n, dtype)


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


def listed_events(events: Array | None, k: Array) -> Any:
    if events is None:
        return None
    here = events[k]
    return jnp.max(jnp.where(here >= 0, jnp.arange(1, here.size + 1, dtype=jnp.int32), 0)), listed(here)


def _moved(net: "LIFNetwork", y: Any, new: Any, risen: Array, dt: Array) -> Array:
    """The numbers of `LIFCurrents` for one step."""
    synaptic, held = net.currents(y), y.held > 0
    return jnp.stack([
        *jax.vmap(mean)(synaptic), *jax.vmap(mean)(jnp.where(held[None], synaptic, 0.0)),
        mean(held.astype(y.v.dtype)), mean(risen - new.v) / dt,
    ])  # fmt: skip


def first_state(net: "LIFNetwork", key: PRNGKeyArray | None, start: Any) -> Any:
    """The state to begin with, for each member."""
    if start is None:
        if key is None:
            return net.init()
        drawn = lambda k: net.init(jax.random.fold_in(k, _START))  # noqa: E731
        return jax.vmap(drawn)(key) if key.ndim else drawn(key)
    shape = (net.n,) if key is None else (*key.shape, net.n)
    if start.v.shape != shape:
        raise ValueError(f"LIFNetwork.run: start has potentials of shape {list(start.v.shape)}; wanted {list(shape)}.")
    return start


def check_key(net: "LIFNetwork", key: Any, noisy: bool, given: bool) -> None:
    outside = net.external_graph is not None and not given
    drawn = [name for name, needed in (("membrane noise", noisy), ("external events", outside)) if needed]
    if key is None and drawn:
        raise ValueError(
            f"LIFNetwork.run: {' and '.join(drawn)} are drawn: give key=jax.random.key(seed); a deterministic run has "
            "Q=0 and events= or no external_graph."
        )
    if key is not None and (not isinstance(key, jax.Array) or key.ndim > 1):
        raise ValueError(f"LIFNetwork.run: key = {key!r}; wanted jax.random.key(seed), or a list of them by split.")


def event_quantiles(net: "LIFNetwork", dt: float) -> Array:
    """Cumulative Poisson probabilities of the number of events in a step, in units of 2^-32, as far as they differ."""
    assert net.external_graph is not None
    rate = float(net.external_graph.senders * net.nu) * dt
    k = np.arange(int(rate + 10 * np.sqrt(rate) + 20))
    probability = np.exp(k * np.log(max(rate, 1e-300)) - rate - np.cumsum(np.log(np.maximum(k, 1))))
    below = np.minimum(np.cumsum(probability) * 2**32, 2**32 - 1).astype(np.uint32)
    return jnp.asarray(below[: np.argmax(below >= below[-1]) + 1])


def checked_events(net: "LIFNetwork", events: ArrayLike, steps: int) -> np.ndarray:
    given = np.asarray(events)
    if net.external_graph is None:
        raise ValueError("LIFNetwork.run: events are given, and the network has no external_graph.")
    senders = net.external_graph.senders
    whole = given.ndim == 2 and len(given) >= steps and given.size > 0 and np.issubdtype(given.dtype, np.integer)
    if not whole or given.min() < -1 or given.max() >= senders:
        raise ValueError(
            f"LIFNetwork.run: events of shape {list(given.shape)} and type {given.dtype}; wanted [{steps} steps or more, "
            f"most in a step] of integers, the sources 0 to {senders - 1} that fire, filled up with -1."
        )
    return given[:steps].astype(np.int32)


def _rows(given: np.ndarray, begin: int, block: int) -> Array:
    rows = given[begin : begin + block]
    return jnp.asarray(np.pad(rows, ((0, block - len(rows)), (0, 0)), constant_values=-1))


def _checked_neurons(net: "LIFNetwork", neurons: Iterable[int]) -> tuple[int, ...]:
    chosen = tuple(int(k) for k in neurons)
    if any(not 0 <= k < net.n for k in chosen):
        raise ValueError(f"LIFNetwork.run: neurons = {chosen}; there are 0 to {net.n - 1}.")
    return chosen


def checked_drive(drive: Drive, n: int, dtype: Any) -> Drive:
    for name, value in (("current", drive.current), ("synaptic", drive.synaptic)):
        if jnp.shape(value) not in ((), (n,)):
            raise ValueError(
                f"LIFNetwork.run: the stimulus has a {name} of shape {list(jnp.shape(value))}; wanted [] or [{n}]."
            )
    return drive._replace(current=jnp.asarray(drive.current, dtype), synaptic=jnp.asarray(drive.synaptic, dtype))


def _check_finite(means: np.ndarray, first: int, dt: float) -> None:
    good = np.isfinite(means).all(axis=-1)
    if not good.all():
        step = int(np.argmin(np.atleast_2d(good).all(axis=0)))
        raise RuntimeError(
            f"LIFNetwork.run: at t = {(first + step + 1) * dt:g} ms a potential is not finite. Look at the stimulus; if it "
            "is finite, take smaller steps or weaker synapses: dt must stay well below tau_m g_L / (g_L + all g)."
        )


def schedule(t1: float, dt: float, save_every: float | None) -> tuple[int, int]:
    """Steps in a saved interval, and the number of intervals."""
    if not 0 < dt < np.inf:
        raise ValueError(f"LIFNetwork.run: dt = {dt} ms; the step must be positive and finite.")
    every = dt if save_every is None else save_every
    if not 0 < every <= t1 * (1 + 1e-9) or not t1 < np.inf:
        raise ValueError(f"LIFNetwork.run: t1 = {t1} ms, save_every = {every} ms; wanted 0 < save_every <= t1.")
    stride, saved = round(every / dt), round(t1 / every)
    if abs(stride * dt - every) > 1e-3 * dt or abs(saved * every - t1) > 1e-3 * dt:
        raise ValueError(
            f"LIFNetwork.run: t1 = {t1:g}, save_every = {every:g}, dt = {dt:g} ms; wanted t1 a whole number of intervals "
            "save_every, and these a whole number of steps dt."
        )
    return stride, saved
