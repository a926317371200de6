r"""Limit cycles of a network whose connections all have the same delay, its regions in unison.

Where every region receives the same sum of weights, a state that is alike in all of them stays so, and moves as one region
that hears its own past (`jnm.stability.delayed_orbit`). It is run from its fixed points until it repeats itself, and
collocation gives the orbit all its digits.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jnm._model import State
from jnm.network.network import Network
from jnm.stability.abstract_cycle import AbstractCycle
from jnm.stability.delayed_floquet import multipliers
from jnm.stability.delayed_orbit import RESIDUAL, Echo, Pieces, collocated, phases, residual, solve_orbit, states
from jnm.stability.equilibria import resting
from jnm.stability.field import as_vector, flat, hearing, sending, shaped
from jnm.stability.homogeneous import for_one, homogeneous
from jnm.stability.precision import concrete, in_double_with_delays, is_traced
from jnm.stability.root import attach, nearest
from jnm.stability.settling import RESTS, SAMPLES, TRIES, UNBOUNDED, last_lap

_STEP = 0.1  # of a run, per rate of what moves fastest at its start
_FINER = 8  # times shorter steps, where the run leaves all bounds
_STARTS = 16  # of the search for fixed points to start next to


class DelayedCycle(AbstractCycle):
    """A periodic orbit of one region that hears its own past: that of all regions of a network with equal delays."""

    period: Float[Array, ""]
    """In ms."""
    model: Network
    """The region, without its delay, in double precision."""
    delay: Float[Array, ""]
    """In ms."""
    _unknowns: Float[Array, " unknown"]
    _pieces: Pieces

    @property
    def echo(self) -> Echo:
        """The region that hears its own past."""
        return Echo(self.model, self.delay)

    @property
    def times(self) -> Float[Array, " time"]:
        with jax.enable_x64(True):
            return phases(self._pieces.edges)[:-1] * self.period

    def at(self, times: Any) -> Any:
        with jax.enable_x64(True):
            x = states(self._pieces, self._unknowns, jnp.atleast_1d(jnp.asarray(times, float)) / self.period)
            return jax.vmap(lambda x: shaped(self.model, x))(x)

    @property
    def multipliers(self) -> Complex[np.ndarray, " k"]:
        """Floquet multipliers of the region, the largest first, to a ten-thousandth of it; one of them is 1."""
        with jax.enable_x64(True):
            return multipliers(self.echo, self._pieces, self._unknowns)

    def follow(self, network: Network) -> "DelayedCycle":
        """The same cycle of a network with other parameters or another speed; works under jit, vmap and grad.

        Outside of these it is cut into new pieces where the old ones no longer resolve it.
        """
        with jax.enable_x64(True):
            echo = echo_of(network, "DelayedCycle.follow")
            ahead = _follow(echo, self._pieces, self._unknowns)
            return ahead if is_traced(ahead.period) else _resolved(ahead)


def echo_of(network: Any, task: str) -> Echo:
    """The one region that stands for all of a network with one delay, in double precision.

    Raises `ValueError` for networks without delays, with delays that differ, and with regions that differ.
    """
    if not isinstance(network, Network) or network.speed is None or network.edges is None:
        raise ValueError(f"{task}: wanted a jnm.Network with a conduction speed, as that of the cycle.")
    lengths = network.edges.lengths
    if network.speed.ndim or np.ptp(lengths) > 1e-6 * lengths.max():
        differ = (
            "connections have speeds of their own"
            if network.speed.ndim
            else f"tract lengths run from {lengths.min():.3g} to {lengths.max():.3g} mm"
        )
        raise ValueError(
            f"{task}: {differ}; regions then hear different pasts and do not oscillate alike. Give all connections one "
            "length and one speed, such as connectome.with_delays(numpy.full_like(weights, delay)), leave speed out, or "
            "run the network with jnm.simulate."
        )
    with jax.enable_x64(True):
        return Echo(_alone(network), lengths.mean() / network.speed.astype(float))


_alone = in_double_with_delays(homogeneous)


def delayed_cycle(network: Network, start: State | None, settle: float) -> DelayedCycle:
    """The oscillation into which the regions of a network with one delay settle together; see `limit_cycle`."""
    echo = echo_of(network, "limit_cycle")
    with jax.enable_x64(True):
        fixed = concrete(echo, "limit_cycle")
        if start is None:
            begins = _begins(fixed)
        else:
            begins = [np.asarray(as_vector(fixed.alone, for_one(fixed.alone, start), "limit_cycle: start"))]
        ends = []
        for begin in begins:
            orbit, end = _settled(fixed, begin, settle)
            if orbit is not None:
                return _attached(echo, orbit[0], jnp.asarray(orbit[1]))
            ends.append(end)
    raise RuntimeError(
        f"limit_cycle: no oscillation found from {len(begins)} start{'s' * (len(begins) > 1)}, running {settle:g} ms and "
        f"up to {TRIES - 1} times twice as long: {'; '.join(dict.fromkeys(ends))}. Give another start, or follow a cycle "
        "of a network nearby: cycle.follow(network)."
    )


@eqx.filter_jit
def _attached(echo: Echo, pieces: Pieces, root: Float[Array, " unknown"]) -> DelayedCycle:
    z = attach(collocated, (echo, pieces), root)
    return DelayedCycle(z[-1], echo.alone, echo.delay, z, pieces)


@eqx.filter_jit
def _follow(echo: Echo, pieces: Pieces, guess: Float[Array, " unknown"]) -> DelayedCycle:
    lost = "DelayedCycle.follow: no cycle next to the old one. Search again with limit_cycle."
    z = nearest(collocated, (echo, pieces), guess, lost)
    return DelayedCycle(z[-1], echo.alone, echo.delay, z, pieces)


def _resolved(cycle: DelayedCycle) -> DelayedCycle:
    """The cycle on pieces that resolve it."""
    echo, pieces, z = cycle.echo, cycle._pieces, cycle._unknowns
    if residual(echo, pieces, z) < RESIDUAL:
        return cycle
    at = np.arange(SAMPLES) / SAMPLES
    rough = np.asarray(states(pieces, z, jnp.asarray(at)))
    orbit = solve_orbit(echo, at, rough, np.asarray(pieces.lap), float(cycle.period))
    if orbit is None:
        raise RuntimeError("DelayedCycle.follow: the cycle is too sharp for what resolves cycles with delays.")
    return _attached(echo, orbit[0], jnp.asarray(orbit[1]))


def _begins(echo: Echo) -> list[Float[np.ndarray, " n"]]:
    """A tenth off each fixed point, those first that are unstable without delay, and the node's own start."""
    points = sorted(resting(echo.alone, _STARTS), key=lambda point: point.stable)
    rests = [np.asarray(flat(point.state)) for point in points]
    return [*(x * 1.1 + 1e-3 * (np.max(np.abs(x)) or 1.0) for x in rests), np.asarray(flat(echo.alone.init()))]


def _settled(echo: Echo, begin: Float[np.ndarray, " n"], settle: float) -> tuple[Any, str]:
    """The orbit into which the activity from `begin` settles, or how it ends instead."""
    orbit, end = _runs(echo, begin, settle, _STEP / _rate(echo, begin))
    if orbit is None and end == UNBOUNDED:
        orbit, end = _runs(echo, begin, settle, _STEP / _rate(echo, begin) / _FINER)
    return orbit, end


def _runs(echo: Echo, x: Float[np.ndarray, " n"], duration: float, longest: float) -> tuple[Any, str]:
    """Runs, each twice as long as the last, in steps of at most `longest` ms."""
    many = int(np.ceil(duration / SAMPLES / longest))
    step, end = duration / SAMPLES / many, ""
    rows = int(np.ceil(float(echo.delay) / step)) + 3
    now = jnp.asarray(x)
    heard = jnp.tile(sending(echo.alone, now)[None], (rows, 1))
    for _ in range(TRIES):
        now, heard, run = _run(echo, now, heard, jnp.asarray(step), jnp.asarray(many))
        lap, end = last_lap(echo.alone, np.asarray(run)[SAMPLES // 2 :])
        if end in (RESTS, UNBOUNDED):
            break
        if lap is not None:
            period = len(lap.states) * step * many
            orbit = solve_orbit(echo, lap.phases, lap.states, lap.turns, period)
            if orbit is not None and lap.is_seen_in(orbit[1], period):
                return orbit, ""
        many *= 2
    return None, end


def _rate(echo: Echo, x: Float[np.ndarray, " n"]) -> float:
    """Of what moves fastest at x, per ms."""
    now = jnp.asarray(x)
    A, E = jax.jacfwd(echo.slope, (0, 1))(now, now)
    turning = np.max(np.abs(echo.slope(now, now)) / (1 + np.abs(x)))
    return float(np.linalg.norm(A, 2) + np.linalg.norm(E, 2) + turning)


@eqx.filter_jit
def _run(
    echo: Echo, x: Array, heard: Float[Array, "step sent"], step: Array, many: Array
) -> tuple[Array, Array, Array]:
    """Heun's method, `many` steps a sample; `heard` is what was sent at the last steps, the latest first.

    A stage may lie less than a delay after the last step; what it hears is then continued in a straight line.
    """
    delay = echo.delay / step

    def past(sent, lag):
        row = jnp.clip(jnp.floor(lag), 0, len(sent) - 2).astype(int)
        return echo.weight * (sent[row] + (lag - row) * (sent[row + 1] - sent[row]))

    def one(_, carry):
        x, sent = carry
        before = hearing(echo.alone, x, past(sent, delay))
        after = hearing(echo.alone, x + step * before, past(sent, delay - 1))
        x = x + step / 2 * (before + after)
        return x, jnp.concatenate([sending(echo.alone, x)[None], sent[:-1]])

    def sample(carry, _):
        carry = jax.lax.fori_loop(0, many, one, carry)
        return carry, carry[0]

    (x, heard), run = jax.lax.scan(sample, (x, heard), None, SAMPLES)
    return x, heard, run
