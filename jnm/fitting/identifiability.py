r"""What data can tell of parameters: the Fisher information at a place, its spectrum, and the same in words.

    F = J^T J,     log L falls by one half along direction v_k (an eigenvector) after a step of l_k^(-1/2),

in the unconstrained theta, where a step of a positive parameter is a relative one. A direction that is all but flat is a
trade between parameters: it is named by those that take part. Directions are taken in units in which every parameter by
itself has curvature 1, so that "flat" does not depend on the scale of a parameter.
"""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float, PyTree

from jnm.fitting.free import Build
from jnm.fitting.loss import AbstractLikelihood

_FLAT = 1e-8  # curvature, of 1 for each parameter alone, below which nothing is told: rounding of J enters squared
_PART = 0.1  # share of a direction from which on a parameter is named
_VAGUE = 0.5  # standard deviation in theta from which on a parameter is called vague: a factor of 1.6


@dataclasses.dataclass(frozen=True)
class Information:
    """The Fisher information of the flattened theta: print it."""

    matrix: Float[np.ndarray, "parameter parameter"]
    labels: tuple[str, ...]

    @property
    def eigenvalues(self) -> np.ndarray:
        """Of the matrix, falling."""
        return np.linalg.eigvalsh(self.matrix)[::-1]

    @property
    def condition(self) -> float:
        """Largest over smallest eigenvalue; infinite where there is nothing but rounding in the smallest."""
        values = self.eigenvalues
        return float(values[0] / values[-1]) if values[-1] > len(values) * 1e-15 * values[0] else np.inf

    @property
    def blind(self) -> tuple[tuple[str, ...], ...]:
        """Groups of parameters that cannot be told apart; a group of one has no influence that is seen."""
        values, directions, seen = self._scaled()
        silent = tuple((label,) for label, one in zip(self.labels, seen, strict=True) if not one)
        names = [label for label, one in zip(self.labels, seen, strict=True) if one]
        flat = directions[:, values < _FLAT]
        return silent + tuple(tuple(n for n, x in zip(names, v, strict=True) if abs(x) > _PART) for v in flat.T)

    @property
    def covariance(self) -> Float[np.ndarray, "parameter parameter"]:
        """The Cramer-Rao bound, F^-1; infinite for parameters that take part in a blind direction."""
        values, directions, seen = self._scaled()
        size = np.sqrt(np.diag(self.matrix)[seen])
        kept = directions[:, values >= _FLAT] / size[:, None]
        answer = np.full(self.matrix.shape, 0.0)
        answer[np.ix_(seen, seen)] = kept / values[values >= _FLAT] @ kept.T
        lost = [self.labels.index(name) for group in self.blind for name in group]
        answer[lost, lost] = np.inf
        return answer

    @property
    def sd(self) -> dict[str, float]:
        """The least standard deviation of each parameter, in theta."""
        return dict(zip(self.labels, np.sqrt(np.diag(self.covariance)).tolist(), strict=True))

    def words(self) -> str:
        """One sentence a finding: what cannot be told apart, what is vague, what is told."""
        groups, sd = self.blind, self.sd
        said = [
            f"{_list(group)} cannot be told apart: fix one"
            if len(group) > 1
            else f"{_list(group)} has no influence that is seen: fix it"
            for group in groups
        ]
        vague = [name for name, x in sd.items() if np.isfinite(x) and x > _VAGUE]
        if vague:
            said.append(f"{_list(vague)} {'is' if len(vague) == 1 else 'are'} vague: give a prior, or fix one")
        told = [f"{name} to {x:.2g}" for name, x in sd.items() if x <= _VAGUE]
        said += [f"told (standard deviation in theta): {', '.join(told)}"] if told else []
        return "; ".join(said) + "."

    def __str__(self) -> str:
        values = ", ".join(f"{x:.3g}" for x in self.eigenvalues)
        return f"Fisher information with eigenvalues {values} (condition {self.condition:.2g}). {self.words()}"

    def _scaled(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Eigenvalues and directions with each parameter in its own scale, and which parameters are seen at all."""
        size = np.sqrt(np.maximum(np.diag(self.matrix), 0.0))
        seen = size > np.finfo(np.float32).eps * size.max(initial=0.0)
        part = self.matrix[np.ix_(seen, seen)] / np.outer(size[seen], size[seen])
        values, directions = np.linalg.eigh(part)
        return values, directions, seen


def information(loss: AbstractLikelihood, build: Build, theta: PyTree) -> Information:
    """The Fisher information of a likelihood at theta.

        >>> print(jnm.fitting.information(loss, build, theta))
        Fisher information with eigenvalues ... A, B, C and gain cannot be told apart: fix one; ...

    Raises `ValueError` for a loss that is no likelihood, and where its derivatives are not finite.
    """
    if not isinstance(loss, AbstractLikelihood):
        raise ValueError(f"information: wanted a likelihood, such as jnm.WhittleLoss; got a {type(loss).__name__}.")
    J, _ = loss.scores(build, theta)
    return of_scores(J, build)


def of_scores(J: Float[np.ndarray, "datum parameter"], build: Any) -> Information:
    """The information J^T J. Raises `ValueError` where J is not finite."""
    if not np.all(np.isfinite(J)):
        raise ValueError(
            "information: the likelihood or its derivatives are not finite here; does the model rest stably?"
        )
    return Information(J.T @ J, build.labels)


def _list(names: Any) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
