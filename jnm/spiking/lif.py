r"""LIFNetwork: conductance-based leaky integrate-and-fire neurons, excitatory and inhibitory, on a quenched random graph.

    tau_m dv_n = -[(v_n - rest) + (1 / g_L) sum_s g_n^s (v_n - E_s)] dt + dw_n,      Var(dw_n) = Q dt,    s = E, I, X
    tau_s dg_n^s / dt = -(g_n^s - q_s phi_n^s),      phi_n^s = sum_m A_nm sum_k delta(t - t_mk)

so that one spike raises g by q / tau, and q is its area. At v >= v_th a neuron fires and is held at v_reset for
tau_ref. Spikes of neurons arrive through one graph; the external ones, of M Poisson sources that neurons share, through
another, at excitatory neurons only. One step of Euler-Maruyama is, in this order: the spikes of the last step arrive;
v moves, with the conductances as they were; neurons fire; conductances decay and take what has arrived.

Deschle, Ignacio Gossn, Tewarie, Schelter & Daffertshofer, Front. Comput. Neurosci. 14:581040 (2021), eqs (7) and (11).
Their table of parameters was not at hand: each default here says where it is from.
"""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray, UInt32
from numpy.typing import ArrayLike

from jnm._model import AbstractModel, Drive
from jnm._param import Default, Positive, param, parameters
from jnm.spiking.bits import Members, count_ones, first_ones, mean, pack, some, total, words_of
from jnm.spiking.graph import Graph
from jnm.spiking.lif_block import Stimulus
from jnm.spiking.lif_record import LIFMeans, LIFRun
from jnm.spiking.lif_run import run
from jnm.spiking.lif_sets import AT_FULL_SIZE, FULL_SIZE, SETS

_PAPER = "Deschle et al. 2021"
_YGER = "public code, which attributes it to Yger et al. 2011 (second-hand)"
_USUAL = "remembered from the literature on conductance-based LIF networks, unverified"


class LIFState(NamedTuple):
    """Potentials (mV), conductances (nS), steps for which neurons are still held, and who fired in the last step.

    `fired` has a bit for each neuron (see `jnm.spiking.bits`). `arrived` is Phi_E, Phi_I, Phi_X of the last step and
    `rate` its spikes by population (E, I), both in 1/ms; `step` is the number of steps done.
    """

    v: Float[Array, " neuron"]
    g_E: Float[Array, " neuron"]
    g_I: Float[Array, " neuron"]
    g_X: Float[Array, " neuron"]
    held: Int[Array, " neuron"]
    fired: UInt32[Array, " word"]
    arrived: Float[Array, " 3"]
    rate: Float[Array, " 2"]
    step: Int[Array, ""]


class LIFNetwork(AbstractModel):
    """A network of LIF neurons on a graph, the first `n_excitatory` of them excitatory (equations: head of this file).

    Usually made by `LIFNetwork.preset`; graphs are `jnm.spiking.Graph`, or matrices [receiver, sender] of what is
    connected. Parameters have shape [] or [neuron].

        >>> net = jnm.spiking.LIFNetwork.preset("A", p=0.25, fraction_excitatory=0.8, key=jax.random.key(0))
        >>> rec = net.run(t1=3_000.0, dt=0.1, key=jax.random.key(1), spikes=True)
        >>> rec.V, rec.Phi, rec.rate, rec.spikes.times

    Raises `ValueError` for graphs of another shape, parameters of another shape or outside their domain, negative
    weights, noise or rates, a threshold that is not above the reset, and more excitatory neurons than there are.
    """

    graph: Graph = eqx.field(converter=lambda g: g if isinstance(g, Graph) else Graph.of(g))
    external_graph: Graph | None = eqx.field(
        default=None, converter=lambda g: g if g is None or isinstance(g, Graph) else Graph.of(g)
    )
    n_excitatory: Int[Array, ""] = eqx.field(default=0, converter=lambda n: jnp.asarray(n, jnp.int32), kw_only=True)
    tau_m: Float[Array, "..."] = param(
        20.0, unit="ms", domain=Positive(), doc="membrane time constant", source=_USUAL, status="literature"
    )
    tau_ref: Float[Array, "..."] = param(
        5.0, unit="ms", doc="time for which a neuron that fired is held", source=_USUAL, status="literature"
    )
    g_L: Float[Array, "..."] = param(
        10.0, unit="nS", domain=Positive(), doc="leak conductance", source=_USUAL, status="literature"
    )
    rest: Float[Array, "..."] = param(-70.0, unit="mV", doc="resting potential", source="usual values are -80 to -60")
    v_th: Float[Array, "..."] = param(-50.0, unit="mV", doc="threshold", source=_USUAL, status="literature")
    v_reset: Float[Array, "..."] = param(
        -60.0, unit="mV", doc="potential after a spike", source=_USUAL, status="literature"
    )
    E_E: Float[Array, "..."] = param(
        0.0, unit="mV", doc="reversal potential of excitation", source=_USUAL, status="literature"
    )
    E_I: Float[Array, "..."] = param(
        -80.0, unit="mV", doc="reversal potential of inhibition", source=_USUAL, status="literature"
    )
    E_X: Float[Array, "..."] = param(
        0.0, unit="mV", doc="reversal potential of external input", source=_USUAL, status="literature"
    )
    tau_E: Float[Array, "..."] = param(
        3.0, unit="ms", domain=Positive(), doc="time constant of excitation", source=_YGER, status="literature"
    )
    tau_I: Float[Array, "..."] = param(
        7.0, unit="ms", domain=Positive(), doc="time constant of inhibition", source=_YGER, status="literature"
    )
    tau_X: Float[Array, "..."] = param(
        5.0, unit="ms", domain=Positive(), doc="time constant of external input", source="the mean of tau_E and tau_I"
    )
    q_E: Float[Array, "..."] = param(
        SETS["A"]["q_E"], unit="nS ms", doc="area of one excitatory conductance", source=AT_FULL_SIZE
    )
    q_I: Float[Array, "..."] = param(
        SETS["A"]["q_I"], unit="nS ms", doc="area of one inhibitory conductance", source=AT_FULL_SIZE
    )
    q_X: Float[Array, "..."] = param(
        SETS["A"]["q_X"], unit="nS ms", doc="area of one external conductance", source=AT_FULL_SIZE
    )
    Q: Float[Array, "..."] = param(
        SETS["A"]["Q"], unit="mV^2 ms", doc="membrane noise: variance of w per ms", source=f"{_PAPER}; the unit is ours",
        status="paper",
    )  # fmt: skip
    nu: Float[Array, "..."] = param(
        0.005, unit="1/ms", doc="rate of each external source", source=_PAPER, status="paper"
    )
    preset_name: str = eqx.field(default="", static=True, metadata={"doc": "the named set the values started from"})

    citation: ClassVar[str] = (
        "Deschle N, Ignacio Gossn J, Tewarie P, Schelter B, Daffertshofer A (2021) On the validity of neural mass "
        "models. Front Comput Neurosci 14:581040."
    )

    @classmethod
    def preset(
        cls,
        name: Literal["A", "B"],
        *,
        p: float,
        fraction_excitatory: float,
        key: PRNGKeyArray,
        n: int = FULL_SIZE,
        sources: int = FULL_SIZE,
        p_external: float = 0.01,
        **parameters: Any,
    ) -> "LIFNetwork":
        """A random network of set A (hardly any membrane noise) or set B (Q = 500 mV^2 ms), graphs drawn with `key`.

        Neurons are connected with probability `p`; the fraction `fraction_excitatory` (lambda) of all `n` is excitatory
        and hears each of the `sources` with probability `p_external`. With n below 10,000 neurons q_E and q_I are larger
        by 10,000 / n. Both sets were tuned by eye to show the transition to synchrony; neither was fitted to the paper.

        Raises `ValueError` for another name, probabilities or fractions outside [0, 1], numbers below 1, and graphs
        that do not fit into the memory.
        """
        if name not in SETS:
            raise ValueError(f"LIFNetwork.preset: {name!r}; known are {', '.join(SETS)}.")
        for what, value in (("p", p), ("fraction_excitatory", fraction_excitatory), ("p_external", p_external)):
            if not isinstance(value, Tracer) and not 0 <= value <= 1:
                raise ValueError(f"LIFNetwork.preset: {what} = {value}; it lies in [0, 1].")
        if not all(isinstance(number, int | np.integer) and number >= 1 for number in (n, sources)):
            raise ValueError(
                f"LIFNetwork.preset: n = {n}, sources = {sources}; wanted whole numbers, at least one of each."
            )
        among, outside = jax.random.split(key)
        excitatory = jnp.round(jnp.asarray(fraction_excitatory) * n).astype(jnp.int32)
        graph = Graph.draw(among, n, n, p, loops=False)
        external = Graph.draw(outside, sources, n, p_external, reach=excitatory)
        values = {**_values(name, n), **parameters}
        return cls(graph, external, n_excitatory=excitatory, preset_name=name, **values)

    def __check_init__(self):
        n, heard = self.n, self.graph.senders
        if heard != n:
            raise ValueError(f"LIFNetwork: a graph of {heard} senders and {n} receivers; wanted [neuron, neuron].")
        if self.external_graph is not None and self.external_graph.receivers != n:
            raise ValueError(
                f"LIFNetwork: external_graph reaches {self.external_graph.receivers} neurons, and the network has {n}."
            )
        for name, known in parameters(self).items():
            value = getattr(self, name)
            if value.shape not in ((), (n,)):
                raise ValueError(f"LIFNetwork: {name} has shape {list(value.shape)}; it must be [] or [{n}].")
            if name in ("tau_ref", "q_E", "q_I", "q_X", "Q", "nu") and _any(value < 0):
                raise ValueError(f"LIFNetwork: {name} = {value} is negative; {known.doc}, in {known.unit}.")
        if _any(self.v_th <= self.v_reset):
            raise ValueError(
                f"LIFNetwork: v_th = {self.v_th} mV is not above v_reset = {self.v_reset} mV; neurons would fire "
                "without end."
            )
        if self.nu.ndim:
            raise ValueError("LIFNetwork: nu is the rate of the sources, which all share: give one number.")
        if _any((self.n_excitatory < 0) | (self.n_excitatory > n)):
            raise ValueError(f"LIFNetwork: n_excitatory = {self.n_excitatory} of {n} neurons.")

    @property
    def n(self) -> int:
        """Number of neurons."""
        return self.graph.receivers

    @property
    def own_defaults(self) -> dict[str, Default]:
        """The values of the set this network started from, at its size (see `jnm.describe`)."""
        if not self.preset_name:
            return {}
        return {name: Default(x, AT_FULL_SIZE, "chosen") for name, x in _values(self.preset_name, self.n).items()}

    def init(self, key: PRNGKeyArray | None = None) -> LIFState:
        """Potentials between reset and threshold, uniform if there is a key and evenly spread if not; no conductance."""
        spread = np.arange(1, self.n + 1) * (5**0.5 - 1) / 2 % 1  # golden section: even among any neighbours
        dtype = self.tau_m.dtype
        u = jnp.asarray(spread, dtype) if key is None else jax.random.uniform(key, (self.n,), dtype)
        none = jnp.zeros(self.n, dtype)
        return LIFState(
            self.v_reset + (self.v_th - self.v_reset) * u,
            none,
            none,
            none,
            jnp.zeros(self.n, jnp.int32),
            jnp.zeros(words_of(self.n, 32), jnp.uint32),
            jnp.zeros(3, dtype),
            jnp.zeros(2, dtype),
            jnp.zeros((), jnp.int32),
        )

    def run(
        self,
        t1: float,
        dt: float,
        *,
        key: Key[Array, "..."] | None = None,
        start: LIFState | None = None,
        save_every: float | None = None,
        stimulus: Stimulus | None = None,
        events: ArrayLike | None = None,
        spikes: bool = False,
        currents: bool = False,
        neurons: Sequence[int] | Iterable[int] = (),
        progress: bool = False,
    ) -> LIFRun:
        """Let the network run for `t1` ms in steps of `dt` (ms); 0.1 ms is usual.

        **Arguments**

        - `key`: draws the start, membrane noise and external events. Several, jax.random.split(key, m), let m copies
          run side by side on the same graph, on all cores; results then have a leading axis [member].
        - `start`: a state to begin with, such as `run.final`; with the same key it goes on as if it had never stopped.
        - `save_every`: what is kept is averaged over so many ms (default every step); potentials of single neurons are
          those at the end.
        - `stimulus`: as in `jnm.simulate`, seen at the beginning of each step: `current` in pA and `synaptic`, more external
          spikes at excitatory neurons, in 1/ms, both [] or [neuron].
        - `events`: the external sources that fire in each step, [step, most of them], filled up with -1; without it
          they are drawn.
        - `spikes`: whether to keep all spikes, as steps and neurons; there is no raster.
        - `currents`: whether to keep what moves the mean potential, `LIFCurrents`.
        - `neurons`: the indices of those whose potential is kept.
        - `progress`: shows a bar.

        Raises `ValueError` for impossible times, what has another shape, and without a key where something is to be
        drawn; `RuntimeError` if a potential is not finite.
        """
        return run(
            self, t1, dt, key=key, start=start, save_every=save_every, stimulus=stimulus, events=events, spikes=spikes,
            currents=currents, neurons=neurons, progress=progress,
        )  # fmt: skip

    def step(self, t: Array, dt: float, y: LIFState, drive: Drive, noise: PRNGKeyArray | None) -> LIFState:
        """One step under `jnm.simulate`, with a key of its own; `run`, which draws in blocks, is cheaper."""
        if noise is None:
            raise ValueError("LIFNetwork: simulate needs key=jax.random.key(seed); without noise use run(events=...).")
        membrane, external = jax.random.split(noise)
        kick = self.kick(dt) * jax.random.normal(membrane, y.v.shape, y.v.dtype)
        return self.advance(y, dt, kick, self._drawn(external, dt), drive)[0]

    def kick(self, dt: Any) -> Float[Array, "..."]:
        """The standard deviation of what the membrane noise adds to v in a step of dt, mV."""
        return jnp.sqrt(self.Q * dt) / self.tau_m

    def advance(
        self, y: LIFState, dt: Any, kick: Array | None, events: tuple[Any, ...] | None, drive: Drive
    ) -> tuple[LIFState, Float[Array, " neuron"]]:
        """One step with membrane noise `kick` (mV) and a list of sources that fire; also v before resets."""
        (g_E, g_I), among = self._recurrent(y, dt)
        g_X, outside = self._external(y, dt, events, drive)
        v = y.v + dt * self.slope(y, drive)
        risen = jnp.where(y.held == 0, v if kick is None else v + kick, self.v_reset)
        above = risen >= self.v_th  # of those held none: the reset is below
        fired = pack(above, np.uint32)
        held = jnp.where(above, jnp.round(self.tau_ref / dt).astype(jnp.int32), jnp.maximum(y.held - 1, 0))
        arrived = jnp.stack([*among, outside]) / dt
        v = jnp.where(above, self.v_reset, risen)
        return LIFState(v, g_E, g_I, g_X, held, fired, arrived, self.shares(fired) / dt, y.step + 1), risen

    def currents(self, y: LIFState) -> Float[Array, "3 neuron"]:
        """The synaptic currents g (v - E) of each kind (E, I, X), pA; outward is positive."""
        pairs = ((y.g_E, self.E_E), (y.g_I, self.E_I), (y.g_X, self.E_X))
        return jnp.stack([g * (y.v - E) for g, E in pairs])

    def means(self, t: Array, y: LIFState) -> LIFMeans:
        """What `jnm.simulate(net, ..., save=net.means)` keeps instead of whole states."""
        return LIFMeans(mean(y.v), y.arrived, y.rate)

    def drift(self, t: Array, y: LIFState, drive: Drive) -> LIFState:
        """Below threshold and without spikes; `step` is what runs."""
        synapses = (-y.g_E / self.tau_E, -y.g_I / self.tau_I, -y.g_X / self.tau_X)
        still = [jnp.zeros_like(x) for x in y[4:]]
        return LIFState(self.slope(y, drive), *synapses, *still)

    def output(self, t: Array, y: LIFState) -> Array:
        """Spikes of excitatory neurons in the last step, per neuron and ms."""
        return y.rate[0]

    def source(self, t: Array, y: LIFState, drive: Drive) -> Array:
        """The mean synaptic current into an excitatory neuron, pA: the others have no dendrite that makes a dipole."""
        return -jnp.sum(self.excitatory(self.currents(y)))

    def excitatory(self, currents: Float[Array, "kind neuron"]) -> Float[Array, " kind"]:
        """The means over excitatory neurons; zero where there are none."""
        counted = jnp.where(jnp.arange(self.n) < self.n_excitatory, currents, 0.0)
        return jax.vmap(total)(counted) / jnp.maximum(self.n_excitatory, 1)

    def slope(self, y: Any, drive: Drive) -> Float[Array, " neuron"]:
        """dv/dt below threshold, mV/ms, of anything that has v and conductances as `LIFState` does."""
        inward = drive.current - y.g_E * (y.v - self.E_E) - y.g_I * (y.v - self.E_I) - y.g_X * (y.v - self.E_X)
        return (self.rest - y.v + inward / self.g_L) / self.tau_m

    def _recurrent(self, y: LIFState, dt: Any) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """g_E and g_I after the spikes of the last step, and the mean number of these; a silent step reads no graph."""
        E = first_ones(self.n_excitatory, self.n)
        kinds = ((y.fired & E, y.g_E, self.tau_E, self.q_E), (y.fired & ~E, y.g_I, self.tau_I, self.q_I))

        def arrive(fired, g, tau, q):
            count = self.graph.arrivals(fired).astype(g.dtype)
            return g - dt / tau * g + q / tau * count, mean(count)

        def decay(fired, g, tau, q):
            return g - dt / tau * g, jnp.zeros((), g.dtype)

        grown = [jax.lax.cond(some(kind[0]), arrive, decay, *kind) for kind in kinds]
        return tuple(zip(*grown, strict=True))  # pyright: ignore[reportReturnType]

    def _external(self, y: LIFState, dt: Any, events: Any, drive: Drive) -> tuple[Array, Array]:
        """g_X after external spikes, and the mean number of these."""
        arrived = jnp.zeros(self.n, y.v.dtype)
        if events is not None and self.external_graph is not None:
            count = self.external_graph.arrivals_of
            arrived = jax.lax.cond(events[0] > 0, lambda: count(*events).astype(y.v.dtype), lambda: arrived)
        if not isinstance(drive.synaptic, float):
            arrived = arrived + jnp.where(jnp.arange(self.n) < self.n_excitatory, drive.synaptic * dt, 0.0)
        return y.g_X - dt / self.tau_X * y.g_X + self.q_X / self.tau_X * arrived, mean(arrived)

    def shares(self, fired: UInt32[Array, " word"]) -> Float[Array, "2"]:
        """The share of each population that fired; 0 of one without neurons."""
        both, E = count_ones(fired), count_ones(fired & first_ones(self.n_excitatory, self.n))
        sizes = jnp.stack([self.n_excitatory, self.n - self.n_excitatory])
        return (jnp.stack([E, both - E]) / jnp.maximum(sizes, 1)).astype(self.tau_m.dtype)

    def _drawn(self, key: PRNGKeyArray, dt: Any) -> tuple[Array, Members] | None:
        """The sources that fire in one step, drawn as the union of their trains: a number, and who they are."""
        if self.external_graph is None:
            return None
        how_many, which = jax.random.split(key)
        senders = self.external_graph.senders
        number = jax.random.poisson(how_many, senders * self.nu * dt, dtype=jnp.int32)

        def at(first, count):
            index = first + jnp.arange(count, dtype=jnp.int32)
            drawn = jax.random.bits(jax.random.fold_in(which, first), (count,), jnp.uint32) % np.uint32(senders)
            return jnp.where(index < number, drawn.astype(jnp.int32), -1)

        return number, at


def _any(condition: Array) -> bool:
    return not isinstance(condition, Tracer) and bool(np.any(condition))


def _values(name: str, n: int) -> dict[str, float]:
    """A set's values for n neurons: synapses among fewer than 10,000 are stronger."""
    larger = max(FULL_SIZE / n, 1.0)
    return {key: x * larger if key in ("q_E", "q_I") else x for key, x in SETS[name].items()}
