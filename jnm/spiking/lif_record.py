"""What a run of a LIF network keeps: population means, spikes without a raster, what moves the mean potential."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt32


class LIFMeans(NamedTuple):
    """Means over the neurons at the end of a step: potential (mV), spikes that arrive (E, I, X) and rates (E, I; 1/ms)."""

    V: Any
    Phi: Any
    rate: Any


class LIFSpikes(NamedTuple):
    """All spikes of a run in the order of time, and of neurons within a step."""

    step: Int[np.ndarray, " spike"]
    """The step in which each was fired; the first step of a network is 0."""
    neuron: Int[np.ndarray, " spike"]
    dt: float
    n: int

    @property
    def times(self) -> Float[np.ndarray, " spike"]:
        """When each was fired, ms: the beginning of its step."""
        return self.step * self.dt

    def trains(self, neurons: Iterable[int] | None = None) -> list[Float[np.ndarray, " spike"]]:
        """The times of each neuron's spikes (default of all neurons), as `jnm.observe.spike_contrast` takes them."""
        order = np.argsort(self.neuron, kind="stable")
        ends = np.searchsorted(self.neuron[order], np.arange(self.n + 1))
        times = self.times[order]
        return [times[ends[k] : ends[k + 1]] for k in (range(self.n) if neurons is None else neurons)]


class LIFCurrents(NamedTuple):
    """What moves the mean potential in an interval, each the mean over all neurons of what a step found.

        tau_m dV/dt = rest - V - held (rest - v_reset) - (I_E + I_I + I_X) / g_L - tau_m reset

    with I = `synaptic - synaptic_held`; step by step, and without noise, the two sides are equal.
    """

    synaptic: Float[np.ndarray, "time kind"]
    """The mean product g (v - E) of each kind (E, I, X), pA."""
    synaptic_held: Float[np.ndarray, "time kind"]
    """The part of it that flows into neurons that are held, and moves nothing."""
    excitatory: Float[np.ndarray, "time kind"]
    """The mean product over excitatory neurons alone, pA: what makes the moment of pyramidal cells (`jnm.meg.Dipole`)."""
    held: Float[np.ndarray, " time"]
    """The share of neurons that are held."""
    reset: Float[np.ndarray, " time"]
    """How far resets lower the mean potential, mV/ms."""


class LIFRun(NamedTuple):
    """What a run keeps, each the mean over an interval; runs side by side have a leading axis [member]."""

    ts: Float[np.ndarray, " time"]
    """Ends of the intervals, ms."""
    V: Float[np.ndarray, " time"]
    """Mean potential of all neurons, mV."""
    Phi: Float[np.ndarray, "time 3"]
    """Spikes that arrive at a neuron, mean over all neurons, by kind (E, I, X), 1/ms: what drives a Freeman mass."""
    rate: Float[np.ndarray, "time 2"]
    """Spikes of a neuron by population (E, I), 1/ms."""
    spikes: LIFSpikes | tuple[LIFSpikes, ...] | None
    """All spikes, if asked for; one for each member."""
    currents: LIFCurrents | None
    """What moves the mean potential, if asked for."""
    v: Float[np.ndarray, "time neuron"] | None
    """Potentials of the chosen neurons at the ends of the intervals, mV."""
    final: Any
    """The last `LIFState`, from which a run goes on."""

    @property
    def Phi_E(self) -> Float[np.ndarray, " time"]:
        """Excitatory spikes that arrive at a neuron, 1/ms."""
        return self.Phi[..., 0]

    @property
    def Phi_I(self) -> Float[np.ndarray, " time"]:
        """Inhibitory spikes that arrive at a neuron, 1/ms."""
        return self.Phi[..., 1]

    @property
    def Phi_X(self) -> Float[np.ndarray, " time"]:
        """External spikes that arrive at a neuron, 1/ms."""
        return self.Phi[..., 2]


class Kept(NamedTuple):
    """What comes back of a block, time first; a part that nobody asked for is None."""

    means: Any
    """V, Phi of three kinds, rates of two populations: [step, 6]."""
    currents: Any
    """The fields of `LIFCurrents`: [step, 11]."""
    fired: Any
    """Who fired, packed: [step, word]."""
    v: Any
    """Potentials of the chosen neurons: [step, neuron]."""


def spikes_of(fired: UInt32[np.ndarray, "member step word"], first: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Steps and neurons of each member's spikes; only words that are not empty are unpacked."""
    found = []
    for bits in fired:
        row, word = np.nonzero(bits)
        which, place = np.nonzero((bits[row, word][:, None] >> np.arange(32, dtype=np.uint32)) & np.uint32(1))
        step, neuron = row[which] + first, place * bits.shape[1] + word[which]
        order = np.lexsort((neuron, step))
        found.append((step[order], neuron[order].astype(np.int32)))
    return found


def result(whole: Kept, fired: list, ts: Any, stride: int, dt: float, n: int, many: bool, y: Any) -> LIFRun:
    """The record of a whole run from what its steps left."""

    def averaged(x):
        shape = (*x.shape[:-2], -1, stride, x.shape[-1])
        return np.mean(x.reshape(shape), axis=-2, dtype=np.float64).astype(x.dtype)

    spikes = None
    if fired:
        blocks = [[np.concatenate(x) for x in zip(*member, strict=True)] for member in zip(*fired, strict=True)]
        spikes = tuple(LIFSpikes(step, neuron, dt, n) for step, neuron in blocks)
    means = averaged(whole.means)
    moved = None if whole.currents is None else averaged(whole.currents)
    return LIFRun(
        ts,
        means[..., 0],
        means[..., 1:4],
        means[..., 4:6],
        spikes if many or spikes is None else spikes[0],
        None
        if moved is None
        else LIFCurrents(moved[..., :3], moved[..., 3:6], moved[..., 6:9], moved[..., 9], moved[..., 10]),
        None if whole.v is None else whole.v[..., stride - 1 :: stride, :],
        y,
    )
