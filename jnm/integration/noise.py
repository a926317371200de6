"""White noise, drawn block by block, and the diffrax term that feeds it to a solver.

The increment of a step is a pure function of (key, step, element): a counter enters the Threefry-2x32 block cipher
(Salmon et al., SC 2011), of which elements i and i + n/2 take a word each. Runs may therefore be cut into blocks, resumed
at any step or batched without changing a single number.
"""

import math
from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jnm._model import AbstractModel, State
from jnm._threefry import threefry

_WIENER, _LEVY, _SHARED = 0, 1, 2  # independent streams of one key


def _normal(unit: Float[Array, "..."]) -> Float[Array, "..."]:
    """Standard normals from numbers uniform on [0, 1), by inversion."""
    low = np.nextafter(np.asarray(-1, unit.dtype), np.asarray(0, unit.dtype))
    return np.sqrt(2, dtype=unit.dtype) * jax.lax.erf_inv(jnp.maximum(low, unit * (1 - low) + low))


def normals(key: PRNGKeyArray, step: Array, count: int, size: int, dtype: Any) -> Float[Array, "count size"]:
    """Independent standard normals of steps `step`, ..., `step + count - 1`, `size` a step.

    Both elements that share a counter go through the whole cipher: to do so once and to join the halves afterwards makes
    a loop with a branch in it, which is not vectorised and takes several times as long.
    """
    words = jax.random.bits(key, (2,), np.uint32)
    steps = (jnp.asarray(step, np.uint32) + jnp.arange(count, dtype=np.uint32))[:, None]
    elements = jnp.arange(size, dtype=np.uint32)[None]
    width = np.uint32(-(-size // 2) if dtype == jnp.float32 else size)  # normals made of the first words
    first = elements < width
    counters = (steps, jnp.where(first, elements, elements - width))
    x, y = threefry(words, *(jnp.broadcast_to(c, (count, size)) for c in counters))
    if dtype == jnp.float32:
        one = np.uint32(0x3F800000)  # the exponent of 1.0: the 23 random bits fill the mantissa
        unit = jax.lax.bitcast_convert_type((jnp.where(first, x, y) >> 9) | one, jnp.float32) - 1
    else:
        high, low = (word.astype(jnp.float64) for word in (x, y))
        unit = (high * 2**21 + jnp.floor(low * 2.0**-11)) * 2.0**-53
    return _normal(unit.astype(dtype))


class White(eqx.Module):
    """Independent white noise for every noisy variable of every region: the default of `simulate`.

    `shared` in [0, 1) is the share of variance that all regions receive in common (one path per population); the
    correlation of the noise of two regions is then `shared`. Raises `ValueError` outside [0, 1).

    A noise of one's own is any `equinox.Module` with this `draw`.
    """

    shared: float = eqx.field(default=0.0, static=True)

    def __check_init__(self):
        if not 0 <= self.shared < 1:
            raise ValueError(f"White: shared = {self.shared}; the common share of the variance lies in [0, 1).")

    def draw(self, key: PRNGKeyArray, step: Array, count: int, dt: float, like: State, levy: bool) -> Any:
        """Wiener increments [count, size] of `count` steps from number `step`, for a diffusion shaped like `like`.

        In `like` every noisy field is [path, region], with one region for a model that has none (see `paths`).
        With `levy` a `diffrax.SpaceTimeLevyArea` of them and their space-time Levy areas, sd sqrt(dt / 12).
        """
        wiener = math.sqrt(dt) * self._stream(key, _WIENER, step, count, like)
        if not levy:
            return wiener
        area = math.sqrt(dt / 12) * self._stream(key, _LEVY, step, count, like)
        return diffrax.SpaceTimeLevyArea(dt=jnp.full(count, dt), W=wiener, H=area)

    def _stream(
        self, key: PRNGKeyArray, stream: int, step: Array, count: int, like: State
    ) -> Float[Array, "count size"]:
        leaves = jax.tree.leaves(like)
        dtype, rank = jnp.result_type(*leaves), max(leaf.ndim for leaf in leaves)
        own = normals(jax.random.fold_in(key, stream), step, count, sum(leaf.size for leaf in leaves), dtype)
        if not self.shared:
            return own
        regions = [leaf.shape[-1] if leaf.ndim == rank > 0 else 1 for leaf in leaves]
        paths = [leaf.size // n for leaf, n in zip(leaves, regions, strict=True)]
        common = normals(jax.random.fold_in(key, stream + _SHARED), step, count, sum(paths), dtype)
        spread = jnp.repeat(common, np.repeat(regions, paths), axis=1, total_repeat_length=own.shape[1])
        return math.sqrt(1 - self.shared) * own + math.sqrt(self.shared) * spread


class StepNoise(diffrax.AbstractBrownianPath):
    """The path that `simulate` draws, as a diffrax path indexed by the step: for `diffeqsolve` on the same grid.

        >>> path = jnm.integration.StepNoise(key, model, dt=0.05)
        >>> diffrax.diffeqsolve(jnm.terms(model, path), diffrax.Heun(), 0.0, 100.0, 0.05, model.init())

    `origin` is the t0 of the run, where step 0 begins.
    """

    key: PRNGKeyArray
    model: AbstractModel
    dt: float = eqx.field(static=True)
    noise: White = White()
    origin: float = eqx.field(default=0.0, static=True)
    levy_area: type = eqx.field(default=diffrax.SpaceTimeLevyArea, static=True)
    t0: float = eqx.field(default=-np.inf, static=True)
    t1: float = eqx.field(default=np.inf, static=True)

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        step = jnp.round((t0 - self.origin) / self.dt).astype(jnp.int32)
        drawn = self.noise.draw(self.key, step, 1, self.dt, paths(self.model), use_levy)
        return jax.tree.map(lambda x: x[0], drawn)


class NoiseTerm(diffrax.AbstractTerm):
    """diffusion(t, y) dW, an independent Wiener process for each noisy variable; the control is one flat vector."""

    diffusion: Callable[[Any, State], State]
    path: Any
    like: Any = eqx.field(static=True)

    def vf(self, t, y, args):
        # A noiseless part of the state is None in the diffusion and a zero here: the solver wants a whole tree.
        def whole(amplitude, value):
            return jax.tree.map(jnp.zeros_like, value) if amplitude is None else amplitude

        return jax.tree.map(whole, self.diffusion(t, y), y, is_leaf=_is_none)

    def contr(self, t0, t1, **kwargs):
        return self.path.evaluate(t0, t1, **kwargs)

    def prod(self, vf, control):
        leaves, structure = jax.tree.flatten(self.like)
        edges = np.cumsum([0, *(leaf.size for leaf in leaves)])
        parts = [control[a:b].reshape(leaf.shape) for a, b, leaf in zip(edges[:-1], edges[1:], leaves, strict=True)]
        increments = jax.tree.unflatten(structure, parts)
        return jax.tree.map(lambda c, v: v if c is None else v * c, increments, vf, is_leaf=_is_none)


def noisy_part(model: AbstractModel) -> State | None:
    """Shapes and dtypes of a model's diffusion; None for a deterministic model."""
    return jax.eval_shape(lambda: model.diffusion(jnp.zeros(()), model.init()))


def paths(model: AbstractModel) -> State | None:
    """The diffusion as noise is drawn for it: every noisy field [path, region]; one region where a field has none.

    Populations of a single node are no regions, and fields with and without populations share alike.
    """
    regions = jax.eval_shape(lambda: model.output(jnp.zeros(()), model.init())).shape[-1:]

    def laid_out(leaf: Any) -> jax.ShapeDtypeStruct:
        n = regions[0] if regions and leaf.shape[-1:] == regions else 1
        return jax.ShapeDtypeStruct((leaf.size // n, n), leaf.dtype)

    return jax.tree.map(laid_out, noisy_part(model))


def _is_none(x: Any) -> bool:
    return x is None
