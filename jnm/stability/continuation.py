"""What a model does as one parameter turns: its branch of fixed points, their stability, and the cycles born on it."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Complex, Float

from jnm._model import AbstractModel, State
from jnm._selection import Where
from jnm.stability import plots
from jnm.stability.crossing import Fold, HopfPoint, fold_at, hopf_at
from jnm.stability.cycle_branch import CycleBranch, cycles_from
from jnm.stability.dial import dial
from jnm.stability.equilibria import equilibria, fold_guesses, hopf_guesses, resting, scale_of
from jnm.stability.field import flat, shaped
from jnm.stability.fixed_point import at_rest
from jnm.stability.plots import Output
from jnm.stability.precision import concrete, in_double


@dataclasses.dataclass(frozen=True, eq=False)
class Branch:
    """Fixed points along a parameter, as NumPy arrays with the points along the first axis."""

    name: str
    """The parameter that was turned, with its unit."""
    value: Float[np.ndarray, " point"]
    """Of that parameter, in the order of the branch: it goes back and forth at folds."""
    state: Any
    """The states, [point, ...]."""
    eigenvalues: Complex[np.ndarray, "point n"]
    """Per ms."""
    folds: tuple[Fold, ...]
    """Where the branch turns back."""
    hopf_points: tuple[HopfPoint, ...]
    """Where oscillations are born."""
    cycles: tuple[CycleBranch, ...]
    """The branches of limit cycles that begin at the Hopf points."""
    ends: tuple[str, str]
    """Why the branch ends on both sides."""
    model: AbstractModel
    """Whose branch it is, in double precision."""

    @property
    def stable(self) -> np.ndarray:
        """Whether each fixed point is."""
        return np.max(np.real(self.eigenvalues), axis=1) < 0

    def plot(self, output: Output = None, label: str = "output (1/ms)", ax: Any = None) -> Any:
        """The bifurcation diagram of a function of (t, y), by default of the model's output; returns the Figure."""
        return plots.bifurcations(self, output, label, ax)


@in_double
def continuation(
    model: AbstractModel,
    where: Where,
    low: float,
    high: float,
    *,
    start: State | None = None,
    cycles: bool = True,
    most: int = 300,
) -> Branch:
    """Follow a fixed point, and the cycles born on its branch, as a parameter goes from `low` to `high`.

        >>> branch = jnm.stability.continuation(jnm.ING(), lambda m: m.eta, 0.0, 100.0)
        >>> branch.plot()

    The branch begins at `low` and is followed around folds until it leaves the range (`.ends` says how it ended); from
    each Hopf point the limit cycles are followed until they leave it, shrink to another Hopf point, or take for ever.

    **Arguments**

    - `where`, `low`, `high`: the parameter and its range, as in `hopf_points`.
    - `start`: the fixed point at `low`, or a state next to it; by default that of the smallest first entry.
    - `cycles`: whether to follow limit cycles.
    - `most`: limit cycles on each branch, at most.

    Raises `ValueError` for a range that leaves the parameter's domain, and under jit and vmap; `RuntimeError` if there is
    no fixed point at `low`.
    """
    low, high = float(low), float(high)
    knob = dial(model, where, low, high, "continuation")
    fixed = concrete(model, "continuation")
    begin, size = _begin(knob, fixed, start, low, high)
    path = equilibria(fixed, knob, begin, size, (low, high))
    guesses = list(hopf_guesses(fixed, knob, path))
    births = [hopf_at(fixed, knob, *guess) for guess in guesses] if cycles else []
    return Branch(
        name=knob.label,
        value=path.z[:, -1],
        state=jax.vmap(lambda x: shaped(fixed, x))(jnp.asarray(path.z[:, :-1])),
        eigenvalues=path.eigenvalues,
        folds=tuple(fold_at(model, knob, *guess) for guess in fold_guesses(fixed, knob, path)),
        hopf_points=tuple(hopf_at(model, knob, *guess) for guess in guesses),
        cycles=_cycles(births, lambda birth: cycles_from(model, fixed, knob, birth, size, (low, high), most)),
        ends=path.ends,
        model=fixed,
    )


def _cycles(births: list[HopfPoint], grow: Callable[[HopfPoint], CycleBranch]) -> tuple[CycleBranch, ...]:
    """The branches born at Hopf points, without those that an earlier one ended in."""
    grown: list[CycleBranch] = []
    for birth in births:
        value, period = float(birth.value), 1000 / float(birth.frequency_hz)
        if not any(branch.ends_at(value, period) for branch in grown):
            grown.append(grow(birth))
    return tuple(grown)


def _begin(knob, fixed, start: State | None, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """The first point of the branch, and the size of its unknowns over the whole range."""
    bottom, top = (knob(fixed, jnp.asarray(p)) for p in (low, high))
    points = list(resting(bottom, 32)) if start is None else [at_rest(bottom, start)]
    if not points:
        raise RuntimeError(f"continuation: no fixed point found at {knob.name} = {low:g}; give one by start=.")
    ends = [*points, *resting(top, 32)]
    size = scale_of([np.append(flat(point.state), low) for point in ends], low, high)
    return np.append(flat(points[0].state), low), size
