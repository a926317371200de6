"""Double precision, entered locally: single precision loses a Hopf point in its own rounding.

Eigenvalues cross the imaginary axis where two large numbers cancel, so this room computes in float64 whatever the
session does, without touching JAX's configuration, and returns float64. A parameter that was made in single precision
is known to seven digits only, and so is the bifurcation it decides; a warning says so.
"""

import functools
import warnings
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jnm._model import AbstractModel, overrides
from jnm._param import Tree, cast

Given = ParamSpec("Given")
Answer = TypeVar("Answer")


def in_double(
    function: Callable[Concatenate[Any, Given], Answer],
) -> Callable[Concatenate[Any, Given], Answer]:
    """Run a function of a model in float64, its model cast, wherever it is called from.

    Works under `jax.grad`, `jax.jit` and `jax.vmap`; derivatives come back in the precision of what they are taken in.
    Second derivatives, and those of eigenvalues and orbits, must be taken under `jax.enable_x64(True)`: JAX would else
    round their way back to float32, and warn. Networks with a conduction speed are refused.
    """
    return _wide(function, delays=False)


def in_double_with_delays(
    function: Callable[Concatenate[Any, Given], Answer],
) -> Callable[Concatenate[Any, Given], Answer]:
    """The same for a function that knows what to do with a conduction speed."""
    return _wide(function, delays=True)


def _wide(
    function: Callable[Concatenate[Any, Given], Answer], delays: bool
) -> Callable[Concatenate[Any, Given], Answer]:
    @functools.wraps(function)
    def wide(model: Any, *args: Given.args, **kwargs: Given.kwargs) -> Answer:
        _check_model(function.__name__, model, delays)
        with jax.enable_x64(True):
            return function(cast(model, jnp.float64), *args, **kwargs)

    return wide


def concrete(tree: Tree, task: str) -> Tree:
    """Numbers without their derivatives, for searches whose answer has no fixed size.

    Under `jax.grad` the numbers are there; raises `ValueError` under `jax.jit` and `jax.vmap`, where they are not.
    """

    def value(leaf: Any) -> Any:
        stopped = jax.lax.stop_gradient(leaf)
        if is_traced(stopped):
            raise ValueError(
                f"{task}: how many there are is not known while jax.jit or jax.vmap traces. Search outside of it, and "
                "inside follow what was found: point.follow(model) is traceable and differentiable."
            )
        return stopped

    return jax.tree.map(lambda leaf: value(leaf) if eqx.is_array(leaf) else leaf, tree)


def is_traced(x: Any) -> bool:
    """Whether a number is not known yet, under jit, vmap or grad."""
    return isinstance(x, jax.core.Tracer)  # pyright: ignore[reportAttributeAccessIssue]


def _check_model(task: str, model: Any, delays: bool) -> None:
    if not isinstance(model, AbstractModel):
        raise ValueError(f"{task}: wanted a jnm model first, such as jnm.ING(); got a {type(model).__name__}.")
    if overrides(model, "step"):
        raise ValueError(
            f"{task}: {type(model).__name__} brings its own step; fixed points are those of a drift. Take its mean field."
        )
    if not delays and model.delays(1.0) is not None:
        raise ValueError(
            f"{task}: the network has a conduction speed. Its fixed points are those of Network(..., speed=None); how "
            "pushes off them grow, with delays, is told by dispersion, transverse_onset and delay_spectrum."
        )
    kinds = {np.dtype(leaf.dtype) for leaf in jax.tree.leaves(model) if eqx.is_inexact_array(leaf)}
    if np.dtype(np.float32) in kinds:
        warnings.warn(
            f"{task}: the parameters of {type(model).__name__} were made in float32 and are cast to float64; the answer "
            "is that of the rounded parameters. Build the model under jax.enable_x64(True) for all digits.",
            stacklevel=3,
        )
