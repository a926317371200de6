"""What the tests of observables share: gradients against central differences."""

from collections.abc import Callable

import jax
import numpy as np
import pytest


@pytest.fixture
def check_gradient(x64: None) -> Callable[..., None]:
    """Compare a scalar's slope along a random direction with its central difference, in double precision."""

    def check(measure: Callable, x: np.ndarray, rel: float = 1e-6, h: float = 1e-6) -> None:
        direction = np.random.default_rng(99).normal(size=x.shape)
        along = jax.jit(jax.value_and_grad(lambda h: measure(x + h * direction)))
        difference = float(along(h)[0] - along(-h)[0]) / (2 * h)
        assert along(0.0)[1] == pytest.approx(difference, rel=rel)
        assert abs(difference) > 1e-6  # else a gradient of nothing would pass

    return check
