r"""QIFNetwork: the quadratic integrate-and-fire neurons of which NMM2 is the exact mean field, finitely many of them.

Neuron j of population a, in units in which a spike is V -> +inf and the reset V -> -inf,

    tau_a V_j' = V_j^2 + x_j,     x_j = eta_j + I_a + tau_a (sum_b C_ab s_b + afferents),
    eta_j the quantiles of a Lorentzian of centre eta_a and half width delta_a, each for one n-th of it,

with the synapses of `jnm.NMM2`, which hear the population's rate. While x is constant V moves by a Moebius map, so with
V = p / q, w = sqrt(x) and h = dt / tau_a a step is exact,

    p -> p cos(w h) + q w sin(w h),    q -> q cos(w h) - p sin(w h) / w    (x < 0: the same with cosh and sinh),

a spike is a change of sign of q, and no largest V, no reset and no refractory time are needed. The synapses are taken
half a step ahead, which makes the coupling accurate to second order. The mean field U = v + i pi R of the same input
obeys U' = U^2 + x + i delta and moves by the same map. Its derivation is ours; the populations are those of Montbrio,
Pazo & Roxin, Phys. Rev. X 5:021028 (2015), with the synapses of Clusella et al., Biol. Cybern. (2023).
"""

import operator
from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int, PRNGKeyArray

from jnm._model import Drive
from jnm._param import Positive, check_domains, fill, param
from jnm.models.nmm2 import NMM2
from jnm.spiking.moebius import lorentzian, mean_field_step, qif_step, stationary

Stimulus = Callable[[Any], Drive]
Hear = Literal["spikes", "mean field"]

_SHARED = ("tau_m", "tau_s", "delta", "eta", "C", "order", "I")  # parameters of network and mass


class QIFState(NamedTuple):
    """Neurons V = p / q by population, their mean field U = v + i pi R, synapses and the last two rates (1/ms)."""

    p: tuple[Float[Array, " neuron"], ...]
    q: tuple[Float[Array, " neuron"], ...]
    U: Complex[Array, " population"]
    s: Float[Array, " population"]
    z: Float[Array, " population"]
    r: Float[Array, " population"]
    r_before: Float[Array, " population"]
    step: Int[Array, ""]

    @property
    def v(self) -> tuple[Float[Array, " neuron"], ...]:
        """The membrane variables V, by population; infinite at the moment of a spike."""
        return tuple(p / q for p, q in zip(self.p, self.q, strict=True))


class QIFRun(NamedTuple):
    """What a run of a `QIFNetwork` keeps; with P populations a matrix C makes, axes are [time, population]."""

    ts: Float[np.ndarray, " time"]
    """Ends of the saved intervals in ms."""
    rate: Float[Array, "time ..."]
    """Spikes a neuron and ms, mean over each interval."""
    mean_field: Float[Array, "time ..."]
    """The same of infinitely many neurons with the same input."""
    synapse: Float[Array, "time ..."]
    """Synapses s at the ends of the intervals, 1/ms; at order 0 the rate of the last step."""
    spikes: tuple[Int[Array, " neuron"], ...] | None
    """How often each neuron fired, by population, if that was asked for."""
    final: QIFState
    """The last state, from which a run goes on."""


class _Now(NamedTuple):
    """What one step made: the new state, spikes of each neuron, rates of neurons and mean field (1/ms)."""

    y: QIFState
    spikes: tuple[Array, ...]
    rate: Array
    mean_field: Array


def _as_counts(n: int | Iterable[int]) -> int | tuple[int, ...]:
    try:
        return tuple(operator.index(x) for x in n) if isinstance(n, Iterable) else operator.index(n)
    except TypeError as error:
        raise ValueError(f"QIFNetwork: n = {n!r}; neurons are counted in integers, one for each population.") from error


class QIFNetwork(eqx.Module):
    """P populations of n QIF neurons each, all-to-all, the network behind `jnm.NMM2` (equations: head of this file).

    The parameters are those of `jnm.NMM2` for a single node, in the same shapes; `n` is one number for all populations
    or one for each.

        >>> net = jnm.spiking.QIFNetwork.of(jnm.ING(), n=10_000)
        >>> run = net.run(t1=200.0, dt=0.0375, key=jax.random.key(0))
        >>> run.rate, run.mean_field

    Raises `ValueError` for what `jnm.NMM2` refuses, parameters over regions, and n < 1.
    """

    tau_m: Float[Array, "..."] = param(unit="ms", domain=Positive(), doc="membrane time constant")
    tau_s: Float[Array, "..."] = param(unit="ms", domain=Positive(), doc="time constant of the synapses it makes")
    delta: Float[Array, "..."] = param(domain=Positive(), doc="half width of the Lorentzian of excitability")
    eta: Float[Array, "..."] = param(doc="centre of the Lorentzian of excitability")
    C: Float[Array, "..."] = param(doc="synaptic weights C[to, from]; positive excites, negative inhibits")
    order: int = eqx.field(default=2, static=True, metadata={"doc": "order of the synapses: 0, 1 or 2"})
    I: Float[Array, "..."] = param(0.0, doc="constant input current; not scaled by tau_m")
    n: int | tuple[int, ...] = eqx.field(
        default=1000, static=True, converter=_as_counts, metadata={"doc": "neurons in each population"}
    )

    @classmethod
    def of(cls, model: NMM2, n: int | Iterable[int]) -> "QIFNetwork":
        """The network of which an NMM2 is the limit of large n; its noise, which is on v or r, is left out."""
        return cls(**{name: getattr(model, name) for name in _SHARED}, n=n)

    def __check_init__(self):
        check_domains(self)
        if self.mass.init().r.ndim > self.mass.rank:
            raise ValueError("QIFNetwork: parameters are given over regions; a network is one node: give [] or [P].")
        if isinstance(self.n, tuple) and len(self.n) != self.mass.n_populations:
            raise ValueError(
                f"QIFNetwork: n = {self.n} for {self.mass.n_populations} populations; one for each, please."
            )
        if min(self.sizes) < 1:
            raise ValueError(f"QIFNetwork: n = {self.n}; wanted at least one neuron in each population.")

    @property
    def mass(self) -> NMM2:
        """The mean field: the `jnm.NMM2` with the same parameters."""
        return NMM2(**{name: getattr(self, name) for name in _SHARED})

    @property
    def sizes(self) -> tuple[int, ...]:
        """Neurons in each population."""
        return self.n if isinstance(self.n, tuple) else (self.n,) * self.mass.n_populations

    def rest(self) -> Float[np.ndarray, " population"]:
        """The rates (1/ms) at which infinitely many neurons rest; where there are several, the one next to quiet.

        r_a = Psi(eta_a + I_a + tau_a sum_b C_ab r_b; delta_a) / tau_a, by relaxation from r = 1 / (2 pi tau_m) in ever
        longer implicit steps, which end as Newton's. Raises `ValueError` if none is found.
        """
        tau, delta, base, C = (np.asarray(x, float) for x in self._columns())
        r = 1 / (2 * np.pi * tau)
        error = np.full(r.shape, np.inf)
        for step in 0.1 * 2.0 ** np.arange(60):
            root = np.sqrt(base + tau * (C @ r) + 1j * delta)
            slope = np.real(1 / (2 * np.pi * root))[:, None] * C
            error = np.real(root) / (np.pi * tau) - r
            r = np.maximum(r + np.linalg.solve(np.eye(r.size) * (1 + 1 / step) - slope, error), 1e-3 * r)
        if not np.all(np.abs(error) < 1e-9 * r):
            raise ValueError("QIFNetwork.rest: found no rates at which the populations rest; give a rate to start at.")
        return r

    def init(self, key: PRNGKeyArray, rate: Any = None) -> QIFState:
        """Neurons in their stationary density for constant synapses s = rate; phases are drawn with `key`.

        A neuron with x > 0 turns evenly, V = sqrt(x) tan(phase); one with x < 0 rests at V = -sqrt(-x). `rate` (1/ms,
        [] or [P]) is by default that of `rest()`. Raises `ValueError` for rates that are not positive.
        """
        tau, delta, base, C = self._columns()
        r = np.asarray(self.rest() if rate is None else rate, float)
        if r.shape not in ((), tau.shape) or not (np.all(np.isfinite(r)) and np.all(r > 0)):
            raise ValueError(f"QIFNetwork: rate = {rate!r}; wanted positive rates in 1/ms, one or {tau.size} of them.")
        r = jnp.broadcast_to(jnp.asarray(r, tau.dtype), tau.shape)
        X = base + tau * _weighted(C, r)
        drawn = zip(jax.random.split(key, tau.size), X, delta, self._quantiles(), strict=True)
        p, q = zip(*(stationary(k, x + width * each) for k, x, width, each in drawn), strict=True)
        U = 1j * jnp.sqrt(X + 1j * delta)
        fired = U.imag / (np.pi * tau)  # at rest the given rate, otherwise what neurons do that hear it
        return QIFState(p, q, U, r, jnp.zeros_like(r), fired, fired, jnp.asarray(0, jnp.int32))

    def run(
        self,
        t1: float,
        dt: float,
        *,
        key: PRNGKeyArray | None = None,
        start: QIFState | None = None,
        save_every: float | None = None,
        stimulus: Stimulus | None = None,
        hear: Hear = "spikes",
        count: bool = False,
    ) -> QIFRun:
        """Let the network run for `t1` ms in steps of `dt` (ms); a thousandth of tau_m to a hundredth serves most.

        **Arguments**

        - `key`: draws the phases of a stationary start; or `start`, a state to begin with, such as `run.final`.
        - `save_every`: rates and synapses are kept once in so many ms (default every step). There is no raster.
        - `stimulus`: as in `jnm.simulate`, seen at the middle of each step; its values are [] or [P].
        - `hear`: whose rate enters the synapses. With "mean field" the mass runs by itself, as infinitely many neurons
          would, and the neurons follow it without a say; with "spikes" the mean field follows the neurons.
        - `count`: whether to count the spikes of each neuron.

        In one step the mean field may fire at most once, rate * dt < 1; single neurons may fire several times.

        Raises `ValueError` for impossible times, without key and start, and for a start of another network,
        and `RuntimeError` if the mean field diverges.
        """
        stride, saved = _schedule(t1, dt, save_every)
        if hear not in get_args(Hear):
            raise ValueError(f"QIFNetwork.run: hear = {hear!r}; the synapses hear 'spikes' or 'mean field'.")
        if (key is None) == (start is None):
            raise ValueError("QIFNetwork.run: give a key (key=jax.random.key(0)), which draws a start, or a start.")
        y = self.init(key) if start is None else start  # pyright: ignore[reportArgumentType]
        if tuple(p.size for p in y.p) != self.sizes:
            raise ValueError(
                f"QIFNetwork.run: start has {[p.size for p in y.p]} neurons; this network has {list(self.sizes)}."
            )
        ts = (int(y.step) + stride * np.arange(1, saved + 1)) * dt
        final, spikes, kept = _run(self, y, self._quantiles(), stimulus, float(dt), stride, saved, hear, count)
        if not np.all(np.isfinite(kept[1])):
            when = ts[np.argmin(np.all(np.isfinite(kept[1]), axis=1))]
            raise RuntimeError(
                f"QIFNetwork.run: at t = {when:g} ms the mean field is not finite. Look at the stimulus; if it is "
                "finite, take smaller steps or weaker synapses."
            )
        rate, mean_field, synapse = kept if self.C.ndim > 1 else [x[:, 0] for x in kept]
        return QIFRun(ts, rate, mean_field, synapse, spikes, final)

    def _columns(self) -> tuple[Array, Array, Array, Array]:
        """tau_m, delta and eta + I as [P], C as [P, P]."""
        size = self.mass.n_populations
        tau, delta, base = (fill(x, (size,)) for x in (self.tau_m, self.delta, self.eta + self.I))
        return tau, delta, base, self.C.reshape(size, size)

    def _quantiles(self) -> tuple[Float[Array, " neuron"], ...]:
        """Quantiles of the standard Lorentzian; in float64 first, since the outermost ones are beyond float32's pi."""
        return tuple(jnp.asarray(lorentzian(n), self.tau_m.dtype) for n in self.sizes)

    def _step(self, y: QIFState, quantiles: tuple[Array, ...], drive: Drive, dt: float, hear: Hear) -> _Now:
        tau, delta, base, C = self._columns()
        h = dt / tau
        X = base + drive.current + tau * (_weighted(C, self._ahead(y, dt)) + drive.synaptic)
        U, area = mean_field_step(y.U, X, delta, h)
        neurons = zip(y.p, y.q, quantiles, X, delta, h, strict=True)
        p, q, spikes = zip(*(qif_step(p, q, x + d * each, step) for p, q, each, x, d, step in neurons), strict=True)
        rate = jnp.stack([jnp.sum(each) / (each.size * dt) for each in spikes]).astype(tau.dtype)
        r = rate if hear == "spikes" else area / dt
        s, z = self._synapses(y.s, y.z, r, dt)
        return _Now(QIFState(p, q, U, s, z, r, y.r, y.step + 1), spikes, rate, area / dt)

    def _ahead(self, y: QIFState, dt: float) -> Array:
        """Synapses half a step ahead, with the last rate; at order 0, where s is the rate itself, extrapolated."""
        return 2 * y.r - y.r_before if self.order == 0 else self._synapses(y.s, y.z, y.r, dt / 2)[0]

    def _synapses(self, s: Array, z: Array, r: Array, dt: float) -> tuple[Array, Array]:
        """s and z after dt at a constant rate, exactly."""
        if self.order == 0:
            return r, z
        k = dt / fill(self.tau_s, r.shape)
        if self.order == 1:
            return r + (s - r) * jnp.exp(-k), z
        away = s - r
        return r + (away + (z + away) * k) * jnp.exp(-k), (z - (z + away) * k) * jnp.exp(-k)


def _weighted(C: Array, s: Array) -> Array:
    return jnp.sum(C * s[None], axis=1)  # not a matrix product, which an accelerator may round to fewer digits


@eqx.filter_jit
def _run(
    net: QIFNetwork, y: QIFState, quantiles: tuple, stimulus: Any, dt: float, stride: int, saved: int, hear, count
):
    sizes = jnp.asarray(net.sizes, y.r.dtype)

    def one(carry, _):
        y, total, fired, area = carry
        drive = Drive() if stimulus is None else _checked(stimulus((y.step + 0.5) * dt), sizes.shape)
        now = net._step(y, quantiles, drive, dt, hear)
        total = jax.tree.map(jnp.add, total, now.spikes) if count else None
        fired = fired + jnp.stack([jnp.sum(each, dtype=jnp.int32) for each in now.spikes])
        return (now.y, total, fired, area + now.mean_field), None

    def interval(carry, _):
        none = (jnp.zeros(sizes.shape, jnp.int32), jnp.zeros_like(sizes))
        (y, total, fired, area), _ = jax.lax.scan(one, (*carry, *none), length=stride)
        return (y, total), (fired / sizes / (stride * dt), area / stride, y.s)

    silent = tuple(jnp.zeros(n, jnp.int32) for n in net.sizes) if count else None
    (y, total), kept = jax.lax.scan(interval, (y, silent), length=saved)
    return y, total, kept


def _checked(drive: Drive, shape: tuple[int, ...]) -> Drive:
    for name, value in (("current", drive.current), ("synaptic", drive.synaptic)):
        if jnp.shape(value) not in ((), shape):
            raise ValueError(
                f"QIFNetwork.run: the stimulus has a {name} of shape {list(jnp.shape(value))}; wanted [] or {list(shape)}."
            )
    return drive


def _schedule(t1: float, dt: float, save_every: float | None) -> tuple[int, int]:
    """Steps in a saved interval, and the number of intervals."""
    if not 0 < dt < np.inf:
        raise ValueError(f"QIFNetwork.run: dt = {dt} ms; the step must be positive and finite.")
    every = dt if save_every is None else save_every
    if not 0 < every <= t1 < np.inf:
        raise ValueError(f"QIFNetwork.run: t1 = {t1} ms, save_every = {every} ms; wanted 0 < save_every <= t1.")
    stride, saved = round(every / dt), round(t1 / every)
    if abs(stride * dt - every) > 1e-3 * dt or abs(saved * every - t1) > 1e-3 * dt:
        raise ValueError(
            f"QIFNetwork.run: t1 = {t1:g}, save_every = {every:g}, dt = {dt:g} ms; wanted t1 a whole number of intervals "
            "save_every, and these a whole number of steps dt."
        )
    return stride, saved
