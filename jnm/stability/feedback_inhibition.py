r"""Feedback inhibition control: the inhibition that keeps every region at a rate, however much it hears of others.

At rest with r_E = rate everywhere all that a region hears is known, and what is left are two scalar equations a region,

    H_E(x) = rate,        S_I = tau_I H_I(W_I I0 + J S_E - S_I),        S_E = gamma tau_E rate / (1 + gamma tau_E rate),

after which the excitatory current x = W_E I0 + J (w S_E + afferents) - J_i S_I gives J_i. Deco et al., J. Neurosci.
34:7886 (2014), find J_i by trial; that the fixed point has it in closed form up to these roots is Demirtas et al.,
Neuron 101:1181 (2019).
"""

import warnings
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from jaxtyping import Array, Float

from jnm._param import Positive, as_parameter, cast, check_domains
from jnm.models.wong_wang import WongWangEI, WongWangEIState, transfer
from jnm.network.network import Network
from jnm.stability.field import eigenvalues, flat
from jnm.stability.precision import is_traced


def feedback_inhibition(network: Network, rate_hz: float | Float[Array, " region"] = 3.0) -> Network:
    """The network with the `J_i` of each region at which all excitatory populations rest at `rate_hz`.

        >>> net = jnm.Network(jnm.WongWangEI(), brain, jnm.Linear(gain=1.0))
        >>> balanced = jnm.stability.feedback_inhibition(net, rate_hz=3.0)
        >>> balanced.node.J_i                                   # [region]

    `rate_hz` is [] or [region]. Works under jit, vmap and grad: J_i follows the gain, the weights and the other
    parameters, by the implicit function theorem. **Strong coupling loses the balance**: the regions then rest at
    `rate_hz` and leave it at the smallest push. Where all is known and nothing delayed, a warning says so.

    Raises `ValueError` for a network of other nodes (of `Heterogeneous` give `.expanded`), for rates that are not
    positive, and where a region would need negative inhibition to reach the rate.
    """
    if not isinstance(network, Network) or not isinstance(network.node, WongWangEI):
        kind = getattr(network, "node", network)
        got = type(network if isinstance(kind, WongWangEI) else kind).__name__
        raise ValueError(f"feedback_inhibition: wanted a jnm.Network of jnm.WongWangEI; got {got}.")
    rate = jnp.broadcast_to(1e-3 * as_parameter(rate_hz), (network.n_regions,))
    if not is_traced(rate) and not Positive().contains(np.asarray(rate)):
        raise ValueError(f"feedback_inhibition: rate_hz = {rate_hz}; wanted positive rates in Hz.")
    J_i, rest = _inhibition(network, rate)
    balanced = eqx.tree_at(lambda net: net.node.J_i, network, J_i)
    check_domains(balanced.node)
    if network.speed is None:
        _warn_unstable(*jax.lax.stop_gradient((balanced, rest)))
    return balanced


@eqx.filter_jit
def _inhibition(network: Network, rate: Float[Array, " region"]) -> tuple[Float[Array, " region"], WongWangEIState]:
    """J_i, and the rest that it makes."""
    node: Any = network.node
    weights, opened = network.connectome.weights, node.gamma * node.tau_E * rate
    S_E = opened / (1 + opened)
    afferent = network.coupling(weights @ S_E, S_E, jnp.sum(weights, axis=1))
    current, S_I = _at_rest(node, rate, S_E)
    return (node.W_E * node.I0 + node.J * (node.w * S_E + afferent) - current) / S_I, WongWangEIState(S_E, S_I)


def _warn_unstable(balanced: Network, rest: WongWangEIState) -> None:
    if any(is_traced(x) for x in jax.tree.leaves((balanced, rest))):
        return
    with jax.enable_x64(True):
        known, state = cast((balanced, rest), jnp.float64)
        growth = float(jnp.max(eqx.filter_jit(eigenvalues)(known, flat(state)).real))
    if growth > 0:
        warnings.warn(
            f"feedback_inhibition: the balanced rest is unstable, pushes off it grow by {growth:.2g} per ms, so no run will "
            "stay at these rates. A weaker coupling has a stable one.",
            stacklevel=3,
        )


def _at_rest(node: WongWangEI, rate: Float[Array, " region"], S_E: Float[Array, " region"]) -> tuple[Array, Array]:
    """The excitatory current at which E fires at `rate`, and the S_I that goes with it.

    Both equations are monotonous and of one curvature, and the starts are on the side from which Newton's steps cannot
    overshoot: H_E exceeds its asymptote a x - b, and S_I is above zero.
    """

    tolerance = float(jnp.finfo(rate.dtype).eps) ** 0.75
    start = (rate + node.b_E) / node.a_E, jnp.zeros_like(rate)
    return optx.root_find(_residual, optx.Newton(tolerance, tolerance), start, (node, rate, S_E), max_steps=100).value


def _residual(x: tuple[Array, Array], args: tuple[WongWangEI, Array, Array]) -> tuple[Array, Array]:
    """How far both populations are from their rates, relative to that of E."""
    (current, S_I), (node, rate, S_E) = x, args
    r_I = transfer(node.W_I * node.I0 + node.J * S_E - S_I, node.a_I, node.b_I, node.d_I)
    return transfer(current, node.a_E, node.b_E, node.d_E) / rate - 1, (S_I / node.tau_I - r_I) / rate
