"""Runs of a LIF network: blocks of steps on the device, one after the other, and what is kept of them.

Noise and external events are functions of key and number of the step, so that a run may be cut anywhere. Of a block
come back its population means, step by step, and bits for the neurons that fired; the spikes are read off these before
the next block, and no raster is ever held.
"""

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key
from numpy.typing import ArrayLike

from jnm._progress import progress_bar
from jnm.spiking.cores import on_all_cores
from jnm.spiking.lif_block import Plan, Stimulus, block_of
from jnm.spiking.lif_record import Kept, LIFRun, result, spikes_of

if TYPE_CHECKING:
    from jnm.spiking.lif import LIFNetwork, LIFState

_BLOCK_STEPS, _BLOCK_BYTES = 1000, 8e6  # the random bits of a block, two bytes for each normal
_STRETCH_BYTES = 4e5  # the normals of a stretch of it, which stay in the cache of a core


def run(
    net: "LIFNetwork",
    t1: float,
    dt: float,
    *,
    key: Key[Array, "..."] | None,
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
    quantiles = None if given is not None or net.external_graph is None else event_quantiles(net, dt)
    plan = _plan(net.n, steps, noisy, spikes, currents, _checked_neurons(net, neurons))
    first = int(np.max(np.asarray(y.step)))
    apart = many and jax.default_backend() == "cpu"
    ys, keys = _members(y, apart), _members(key, apart)
    kept, fired = [], []
    with progress_bar(steps, progress, unit="step", unit_scale=True) as bar:
        for begin in range(0, steps, plan.block):
            count = min(plan.block, steps - begin)
            now = None if given is None else _rows(given, begin, plan.block)
            inputs = (jnp.asarray(dt, y.v.dtype), jnp.asarray(count), quantiles, now, stimulus, plan)
            ys, outs = zip(*on_all_cores(partial(_block, net, inputs), ys, keys), strict=True)
            out = jax.tree.map(lambda *x, end=count: (np.stack(x) if apart else x[0])[..., :end, :], *outs)
            if out.fired is not None:
                fired.append(spikes_of(out.fired if many else out.fired[None], first + begin))
            kept.append(out._replace(fired=None))
            bar.update(count)
    whole = jax.tree.map(lambda *x: np.concatenate(x, axis=-2), *kept)
    _check_finite(whole.means, first, dt)
    ts = (first + stride * np.arange(1, saved + 1)) * dt
    final = jax.tree.map(lambda *x: jnp.stack(x), *ys) if apart else ys[0]
    return result(whole, fired, ts, stride, dt, net.n, many, final)


def _plan(n: int, steps: int, *what: Any) -> Plan:
    stretch = int(np.clip(_STRETCH_BYTES / (4 * n), 1, steps))
    block = int(np.clip(_BLOCK_BYTES / (2 * n), 1, min(_BLOCK_STEPS, steps)))
    return Plan(-(-block // stretch) * stretch, stretch, *what)


def _block(net: "LIFNetwork", inputs: tuple[Any, ...], y: Any, key: Any) -> tuple[Any, Kept]:
    """One block of a run; or of several, vectorised, which only an accelerator has: a processor runs them side by side.

    Vectorised over runs the loops over spikes would take as many turns as the busiest of them needs, and each step
    would read the graph.
    """
    if key is None or key.ndim == 0:
        y, out = block_of(net, y, key, *inputs)
    else:
        y, out = eqx.filter_vmap(block_of, in_axes=(None, 0, 0, *[None] * len(inputs)))(net, y, key, *inputs)
    return y, jax.tree.map(np.asarray, out)


def _members(batch: Any, apart: bool) -> list[Any]:
    """What each member has, if they run apart; otherwise what all of them have."""
    number = len(jax.tree.leaves(batch)[0]) if apart else 1
    return [jax.tree.map(lambda x, k=k: x[k] if apart else x, batch) for k in range(number)]


def first_state(net: "LIFNetwork", key: Key[Array, "..."] | None, start: Any) -> Any:
    """The state to begin with, for each member."""
    if start is None:
        if key is None:
            return net.init()
        drawn = lambda k: net.init(jax.random.fold_in(k, 0))  # noqa: E731
        return jax.vmap(drawn)(key) if key.ndim else drawn(key)
    shape = (net.n,) if key is None else (*key.shape, net.n)
    if start.v.shape != shape:
        raise ValueError(f"LIFNetwork.run: start has potentials of shape {list(start.v.shape)}; wanted {list(shape)}.")
    return start


def check_key(net: "LIFNetwork", key: Any, noisy: bool, given: bool) -> None:
    """Raise `ValueError` for a key that is no key, or that is missing where noise or events are drawn."""
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
    """Given events as int32 [step, most in a step]; raises `ValueError` for others than known sources, filled up with -1."""
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
