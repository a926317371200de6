r"""Do like regions stay alike? The dispersion relation: how fast each pattern of the connectome grows or decays.

A homogeneous state, at rest or oscillating, is pushed along the eigenvectors of the weights. Each pattern u_k, with
W u_k = L_k u_k, keeps its shape and has exponents of its own (`jnm.stability.modes`): eigenvalues of A + L_k B C about
a fixed point, Floquet exponents about a cycle. The network leaves the homogeneous state along patterns whose exponent is
positive. The first pattern, L = s, is that of all regions together; the others are transverse to it.

Delicado, Huguet & Clusella, arXiv 2512.03907; Clusella et al., PLoS Comput. Biol. 19:e1010781 (2023).
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jnm._model import State
from jnm.network.network import Network
from jnm.network.spectrum import Modes, modes
from jnm.stability import delayed, delayed_floquet, plots
from jnm.stability.cycle import Cycle
from jnm.stability.delayed_cycle import DelayedCycle, echo_of
from jnm.stability.field import flat
from jnm.stability.fixed_point import FixedPoint, at_rest, fixed_points
from jnm.stability.homogeneous import for_one, homogeneous
from jnm.stability.modes import at_rest as exponents_at_rest, on_cycle, parts
from jnm.stability.precision import in_double_with_delays, is_traced

_STARTS = 32  # of the search for the fixed points of one region


class Dispersion(eqx.Module):
    """How small pushes off a homogeneous state grow, one entry for each eigenvalue of the connectivity."""

    connectivity_eigenvalues: Array
    """[mode], by falling real part; the first is that of all regions together."""
    exponents: Complex[Array, "mode n"]
    """All exponents of each mode, per ms, the rightmost first."""
    about: FixedPoint | Cycle | DelayedCycle
    """The homogeneous state: that of one region."""
    modes: Modes | None
    """Eigenvectors of the weights: pattern k over regions is `modes.right[:, k]`; None for `master_stability`."""
    delay: Float[Array, ""] | None
    """Of all connections, in ms; None without."""

    @property
    def growth_rates(self) -> Float[Array, " mode"]:
        """Of each mode, per ms: the largest real part of its exponents."""
        with jax.enable_x64(True):
            return self.exponents[:, 0].real

    @property
    def frequencies_hz(self) -> Float[Array, " mode"]:
        """At which the fastest growing push of each mode turns; about a cycle known up to multiples of its frequency."""
        with jax.enable_x64(True):
            return 1000 * jnp.abs(self.exponents[:, 0].imag) / (2 * jnp.pi)

    @property
    def unstable(self) -> int:
        """How many transverse modes grow."""
        return int(np.sum(np.asarray(jax.lax.stop_gradient(self.growth_rates))[1:] > 0))

    @property
    def fastest(self) -> int:
        """The transverse mode that grows fastest, or decays slowest."""
        return 1 + int(np.argmax(np.asarray(jax.lax.stop_gradient(self.growth_rates))[1:]))

    def vectors(self, mode: int) -> Complex[np.ndarray, "n n"]:
        """Within a region, the push that belongs to each exponent of a mode: columns, as flat states.

        About a cycle they are those at the beginning of its orbit (Floquet vectors), about a fixed point eigenvectors.
        Raises `ValueError` with delays, where a push is a function of the past.
        """
        with jax.enable_x64(True):
            return _vectors(self, self.connectivity_eigenvalues[mode : mode + 1 or None])

    def plot(self, ax: Any = None) -> Any:
        """Growth rates against the eigenvalues of the connectivity, coloured by frequency; returns the Figure."""
        return plots.dispersion(self, ax)


def dispersion(
    network: Network, state: State | FixedPoint | Cycle | DelayedCycle | None = None, *, line: float = -1.0
) -> Dispersion:
    """How fast each pattern of the connectome grows or decays about a homogeneous state.

        >>> brain = jnm.datasets.connectome().normalised("rows")
        >>> net = jnm.Network(jnm.PING(IE=2.0), brain, jnm.Linear(10.0))
        >>> jnm.stability.dispersion(net).growth_rates                                # about rest
        >>> jnm.stability.dispersion(net, jnm.stability.limit_cycle(net))             # about the cycle, if there is one

    **Arguments**

    - `network`: of any node and coupling, all regions alike and each receiving the same sum of weights. Couplings that
      are not linear enter by their slope at the state.
    - `state`: the homogeneous state: a cycle of `limit_cycle(network)`, or next to one; a fixed point, or a state next
      to it, of one region or of all; by default the only fixed point, or the only one that is stable as long as regions
      are alike.
    - `line`: with a conduction speed there are infinitely many exponents; those right of `line` (per ms) are given,
      others are -inf. All connections must then have the same delay. About a cycle also those are -inf whose push
      shrinks, in a period, to less than a ten-thousandth of the fastest growing one.

    **Returns** `.connectivity_eigenvalues` (falling), `.growth_rates` per ms and `.frequencies_hz`, one entry a mode; all
    `.exponents` and the patterns. Differentiable in the parameters and, where eigenvalues are simple, in the weights.

    Raises `ValueError` for regions that are not alike, weights whose eigenvectors do not span the space, and delays that
    differ between connections. Asymmetric weights may have complex eigenvalues; they are taken as they come.
    """
    found = modes(jax.lax.stop_gradient(_known(network).connectome.weights))
    return _about(network, moving(found, network.connectome.weights), state, found, line)


def master_stability(
    network: Network,
    connectivity_eigenvalues: Any,
    state: State | FixedPoint | Cycle | DelayedCycle | None = None,
    *,
    line: float = -1.0,
) -> Dispersion:
    """The same for any eigenvalues of a connectivity, real or complex: the master stability function.

        >>> jnm.stability.master_stability(net, jnp.linspace(-1.0, 1.0, 101)).plot()

    The network itself only gives the homogeneous state. Under jit and vmap its weights, too, may be traced if `state` is
    given and there are no delays; that their rows have equal sums is then taken for granted. Other
    arguments, result and errors are those of `dispersion`.
    """
    _check_network(network)
    with jax.enable_x64(True):
        given = jnp.atleast_1d(jnp.asarray(connectivity_eigenvalues))
        given = given.astype(complex if jnp.iscomplexobj(given) else float)
    if given.ndim != 1:
        raise ValueError(f"master_stability: the eigenvalues have shape {given.shape}; wanted a list of numbers.")
    return _about(network, given, state, None, line)


def _known(network: Any) -> Network:
    """The network, its weights being known: their eigenvectors are sought."""
    _check_network(network)
    if is_traced(jax.lax.stop_gradient(network.connectome.weights)):
        raise ValueError(
            "dispersion: the weights are traced by jit or vmap; take master_stability at fixed eigenvalues, with the "
            "homogeneous state as state=."
        )
    return network


def _check_network(network: Any) -> None:
    if not isinstance(network, Network):
        raise ValueError(f"dispersion: wanted a jnm.Network; got a {type(network).__name__}.")


def moving(found: Modes, weights: Array) -> Array:
    """Eigenvalues with their derivative in the weights: dL = left dW right."""
    with jax.enable_x64(True):
        values, left, right = (jnp.asarray(part) for part in (found.eigenvalues, found.left, found.right))
        change = weights.astype(float) - jax.lax.stop_gradient(weights.astype(float))
        return values + jnp.einsum("ki,ij,jk->k", left, change.astype(left.dtype), right)


def _about(network: Network, connectivity: Array, state: Any, found: Modes | None, line: float) -> Dispersion:
    about, delay = homogeneous_state(network, state)
    return Dispersion(connectivity, exponents(about, connectivity, delay, line), about, found, delay)


def homogeneous_state(network: Any, state: Any) -> tuple[FixedPoint | Cycle | DelayedCycle, Float[Array, ""] | None]:
    """The homogeneous state that is meant, differentiable in the network's parameters, and the delay of connections."""
    if isinstance(state, DelayedCycle):
        cycle = _delayed_cycle(network, state)
        return cycle, cycle.delay
    delay = delayed.delay_of(network)
    if not isinstance(state, Cycle):
        return homogeneous_rest(network, state), delay
    if delay is not None:
        raise ValueError(
            "dispersion: the cycle is one without delays; cycles of networks with delays are found by "
            "jnm.stability.limit_cycle(network), too."
        )
    return homogeneous_cycle(network, state), None


def exponents(about: Any, connectivity: Array, delay: Array | None, line: float) -> Complex[Array, "mode k"]:
    """Of each pattern about a homogeneous state, per ms, the rightmost first; with delays those right of `line`."""
    with jax.enable_x64(True):
        if isinstance(about, DelayedCycle):
            return delayed_floquet.exponents(about.echo, about._pieces, about._unknowns, connectivity, line)
        if isinstance(about, Cycle):
            alone: Any = about.model
            return on_cycle(alone, about._mesh, about._unknowns, connectivity)[0]
        if delay is not None:
            return delayed.exponents(about, connectivity, delay, line)
        return exponents_at_rest(about.model, flat(about.state), connectivity)


@in_double_with_delays
def homogeneous_rest(network: Any, state: Any) -> FixedPoint:
    """The homogeneous fixed point that is meant."""
    alone = homogeneous(network)
    if isinstance(state, FixedPoint):
        state = state.state
    if state is not None:
        return at_rest(alone, for_one(network, state))
    points = fixed_points(alone, starts=_STARTS)
    chosen = list(points) if len(points) == 1 else [point for point in points if point.stable]
    if len(chosen) != 1:
        raise ValueError(
            f"dispersion: of {len(points)} homogeneous fixed points {len(chosen)} are stable; name one by state=, from "
            "jnm.stability.fixed_points(jnm.stability.homogeneous(network))."
        )
    return chosen[0]


@in_double_with_delays
def homogeneous_cycle(network: Any, cycle: Cycle) -> Cycle:
    """The cycle of the network that is meant, with its derivatives in the network's parameters."""
    alone = homogeneous(network)
    return cycle if _same(cycle.model, alone) else cycle.follow(alone)


def _delayed_cycle(network: Network, cycle: DelayedCycle) -> DelayedCycle:
    """The same of a network with one delay."""
    return cycle if _same(cycle.echo, echo_of(network, "dispersion")) else cycle.follow(network)


def _same(a: Any, b: Any) -> bool:
    """Whether two regions have the same numbers, known to be so; raises `ValueError` where they differ in kind."""
    if jax.tree.structure(a) != jax.tree.structure(b):
        raise ValueError(
            "dispersion: the cycle is not one of this network's region; take jnm.stability.limit_cycle(network), or "
            "cycle.follow(jnm.stability.homogeneous(network)); with delays, cycle.follow(network)."
        )
    numbers = list(zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
    known = not any(is_traced(x) for pair in numbers for x in pair)
    return known and all(np.array_equal(x, y) for x, y in numbers)


def _vectors(found: Dispersion, connectivity: Array) -> Complex[np.ndarray, "n n"]:
    if found.delay is not None:
        raise ValueError("Dispersion.vectors: with delays a push is a function of the past, and no vector.")
    if isinstance(found.about, Cycle):
        cycle: Any = found.about
        matrix = on_cycle(cycle.model, cycle._mesh, cycle._unknowns, connectivity)[1][0]
    else:
        rest: Any = found.about
        matrix = parts(rest.model, flat(rest.state))[1].matrix(connectivity[0])
    values, vectors = np.linalg.eig(np.asarray(matrix))
    size = np.log(np.abs(values) + 1e-300) if isinstance(found.about, Cycle) else np.real(values)
    return vectors[:, np.lexsort((-np.imag(values), -np.round(size, 12)))]
