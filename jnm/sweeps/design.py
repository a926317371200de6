"""Designs of experiments: points spread over a box, for `jnm.sample`."""

import warnings
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np

from jnm._optional import require
from jnm._param import Interval
from jnm.sweeps.selected import Selected

Design = Literal["sobol", "latin", "random"]


def points(chosen: Sequence[Selected], n: int, design: Design, seed: int) -> list[np.ndarray]:
    """For each selected parameter `n` values in its interval; see `jnm.sample`, which says what is raised."""
    if design not in get_args(Design):
        raise ValueError(f"sample: design = {design!r}; known are {', '.join(get_args(Design))}.")
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise ValueError(f"sample: n = {n!r}; wanted a whole number of members, one or more.")
    boxes = [_interval(one) for one in chosen]
    unit = _unit_points(len(boxes), int(n), design, seed)
    return [box.low + (box.high - box.low) * column for box, column in zip(boxes, unit.T, strict=True)]


def _unit_points(parameters: int, n: int, design: Design, seed: int) -> np.ndarray:
    """[point, parameter], each strictly between 0 and 1."""
    generator = np.random.default_rng(seed)
    if design == "random":
        drawn = generator.random((n, parameters))
    else:
        qmc = require("scipy.stats.qmc", extra="io")
        sampler = (qmc.Sobol if design == "sobol" else qmc.LatinHypercube)(parameters, rng=generator)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # n is no power of two: even enough, and said in the docstring
            drawn = sampler.random(n)
    tiny = 2.0**-20  # what single precision can tell from the ends of the interval
    return np.clip(drawn, tiny, 1 - tiny)


def _interval(one: Selected) -> Interval:
    if one.spot is None:
        raise ValueError("sample: seeds are no interval; give them to grid or zipped, or use more samples.")
    given: Any = one.spot.domain if one.given is None else one.given
    if isinstance(given, Interval):
        return given
    if isinstance(given, tuple | list) and len(given) == 2:
        return Interval(*map(float, given))
    raise ValueError(
        f"sample: {one.name} is to be spread over {given}, which is no interval; give jnm.Interval(low, high)."
    )
