r"""BOLD: from neuronal activity to what a scanner measures, by the balloon in the veins.

    s' = z - kappa s - gamma (f - 1)          vasodilatory signal, driven by the activity z
    f' = s                                    blood flow in
    tau v' = f - v^(1/alpha)                  volume of the veins
    tau q' = f (1 - (1 - rho)^(1/f)) / rho - v^(1/alpha - 1) q        deoxyhaemoglobin
    BOLD = V0 (k1 (1 - q) + k2 (1 - q / v) + k3 (1 - v))

all per second. Friston, Harrison & Penny, NeuroImage 19:1273 (2003): k1 = 7 rho, k2 = 2, k3 = 2 rho - .2. Stephan et
al., NeuroImage 38:387 (2007): k1 = 4.3 * 40.3 rho TE, k2 = epsilon * 25 rho TE, k3 = 1 - epsilon, at 1.5 tesla. f, v and
q are stepped as logarithms, as in the authors' code, so that no step makes them negative.

These parameters are in seconds, as in every paper on them; times that are arguments are in ms, as in all of jnm.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jnm._model import State
from jnm._param import Interval, Positive, check_domains, param
from jnm.integration.reduction import Reduction

_FRISTON, _STEPHAN = "Friston et al. 2003", "Stephan et al. 2007"
_CODE = "spm_gx_dcm.m of SPM"


class Flow(NamedTuple):
    """The state of the veins: the signal s (1/s), and the logarithms of f, v and q, which are 1 at rest."""

    s: Array
    f: Array
    v: Array
    q: Array


class Hemodynamics(eqx.Module):
    """The Balloon-Windkessel model; parameters have shape [] or [region].

    `equation` says how volume and deoxyhaemoglobin make the signal: "friston" or "stephan". `Hemodynamics.stephan()`
    has the values that belong to the latter.

    Raises `ValueError` for an unknown equation and for parameters outside their domain.
    """

    kappa: Float[Array, "..."] = param(
        0.65, unit="1/s", domain=Positive(), doc="decay of the signal", source=_FRISTON, status="paper"
    )
    gamma: Float[Array, "..."] = param(
        0.41, unit="1/s", domain=Positive(), doc="feedback of the flow", source=_FRISTON, status="paper"
    )
    tau: Float[Array, "..."] = param(
        0.98, unit="s", domain=Positive(), doc="transit time", source=_FRISTON, status="paper"
    )
    alpha: Float[Array, "..."] = param(
        0.32, domain=Positive(), doc="Grubb's exponent, stiffness of the veins", source=_FRISTON, status="paper"
    )
    rho: Float[Array, "..."] = param(
        0.34, domain=Interval(0.0, 1.0), doc="oxygen extracted at rest", source=_FRISTON, status="paper"
    )
    V0: Float[Array, "..."] = param(
        0.02, domain=Positive(), doc="blood volume at rest, share of the voxel", source=_FRISTON, status="paper"
    )
    TE: Float[Array, "..."] = param(
        0.04, unit="s", domain=Positive(), doc="echo time", source=_CODE, status="code of the authors"
    )
    epsilon: Float[Array, "..."] = param(
        1.0, domain=Positive(), doc="intra- to extravascular signal", source=_CODE, status="code of the authors"
    )
    equation: Literal["friston", "stephan"] = eqx.field(
        default="friston", static=True, metadata={"doc": "the signal's equation"}
    )

    def __check_init__(self):
        check_domains(self)
        if self.equation not in ("friston", "stephan"):
            raise ValueError(f"Hemodynamics: equation = {self.equation!r}; there are 'friston' and 'stephan'.")

    @classmethod
    def stephan(cls, **values: Any) -> "Hemodynamics":
        """The signal equation of Stephan et al. (2007), with V0 = 0.04 as in the authors' code."""
        return cls(**({"V0": 0.04, "equation": "stephan"} | values))

    def rest(self, like: Float[Array, "..."]) -> Flow:
        """The veins without activity, for activity shaped as `like`."""
        return Flow(*(jnp.zeros_like(like),) * 4)

    def drift(self, y: Flow, z: Float[Array, "..."]) -> Flow:
        """d/dt per second under the activity z."""
        f, out = jnp.exp(y.f), jnp.exp(y.v / self.alpha)
        extracted = -jnp.expm1(jnp.log1p(-self.rho) / f) / self.rho
        return Flow(
            z - self.kappa * y.s - self.gamma * (f - 1),
            y.s / f,
            (f - out) / (self.tau * jnp.exp(y.v)),
            (f * extracted * jnp.exp(-y.q) - out * jnp.exp(-y.v)) / self.tau,
        )

    def step(self, y: Flow, z: Float[Array, "..."], dt: float) -> Flow:
        """The veins after `dt` ms of constant activity z; Heun's method."""
        h = 1e-3 * dt
        first = self.drift(y, z)
        second = self.drift(jax.tree.map(lambda a, b: a + h * b, y, first), z)
        return jax.tree.map(lambda a, b, c: a + h / 2 * (b + c), y, first, second)

    def signal(self, y: Flow) -> Float[Array, "..."]:
        """The BOLD signal, as a share of that at rest."""
        if self.equation == "friston":
            k1, k2, k3 = 7 * self.rho, 2.0, 2 * self.rho - 0.2
        else:
            k1, k2, k3 = 4.3 * 40.3 * self.rho * self.TE, self.epsilon * 25.0 * self.rho * self.TE, 1 - self.epsilon
        v, q = -jnp.expm1(y.v), -jnp.expm1(y.q)  # 1 - v and 1 - q, of which little is left at low activity
        return self.V0 * (k1 * q + k2 * -jnp.expm1(y.q - y.v) + k3 * v)


class Bold(NamedTuple):
    """BOLD [volume, region] at the times `ts` (ms after the first saved state), of which `count` were reached."""

    ts: Float[Array, " volume"]
    signal: Float[Array, "volume region"]
    count: Array


class _Folded(NamedTuple):
    total: Array  # of the activity since the last step of the veins
    samples: Array
    steps: Array
    flow: Flow
    volumes: Array


def bold(
    activity: Callable[[State], Array],
    dt: float,
    *,
    tr: float,
    volumes: int,
    step: float = 10.0,
    hemodynamics: Hemodynamics | None = None,
) -> Reduction:
    """The BOLD signal of `activity(y)`, saved every `dt` ms: a `jnm.Reduction` for `simulate(..., save=)`.

        >>> scan = jnm.observe.bold(lambda y: y.S, dt=1.0, tr=720.0, volumes=400)
        >>> run = jnm.simulate(net, t1=720.0 * 400, dt=1.0, key=key, save_every=1.0, save=scan)
        >>> jnm.observe.functional_connectivity(run.ys.signal)

    **Arguments**

    - `activity`: from a state to z, one number a region, dimensionless; z = 1 is strong.
    - `dt`: ms between the states that are looked at, the `save_every` of the run.
    - `tr`: repetition time in ms, and `volumes` how many are taken, the first after one `tr`. They are all that is
      kept, whatever the length of the run. Volumes that a shorter run does not reach are zero; `count` tells.
    - `step`: ms between steps of the veins, driven by the mean activity in between.
    - `hemodynamics`: a `Hemodynamics`; by default that of Friston et al. (2003).

    The veins start at rest: the first twenty seconds are a transient. **Returns** `Bold`, in `Solution.ys`. Raises
    `ValueError` for a `step` that is no multiple of `dt`, or a `tr` that is none of `step`, and in `simulate` when
    `save_every` is not `dt`.
    """
    every, between = _whole(step, dt, "step", "dt"), _whole(tr, step, "tr", "step")
    if volumes < 1:
        raise ValueError(f"bold: volumes = {volumes}; take one or more.")
    veins = Hemodynamics() if hemodynamics is None else hemodynamics

    def init(y):
        z = jnp.zeros_like(activity(y))
        zero = jnp.zeros((), jnp.int32)
        return _Folded(z, zero, zero, veins.rest(z), jnp.zeros((volumes, *z.shape), z.dtype))

    def update(folded, t, y):
        now = folded._replace(total=folded.total + activity(y), samples=folded.samples + 1)
        return jax.lax.cond(now.samples == every, _stepped, lambda folded: folded, now)

    def _stepped(folded):
        flow = veins.step(folded.flow, folded.total / every, step)
        steps = folded.steps + 1
        taken = jnp.where(steps % between == 0, steps // between - 1, volumes)  # beyond the last: dropped
        kept = folded.volumes.at[taken].set(veins.signal(flow), mode="drop")
        return _Folded(0 * folded.total, 0 * folded.samples, steps, flow, kept)

    def finish(folded):
        ts = jnp.asarray(tr * np.arange(1, volumes + 1), folded.volumes.dtype)
        return Bold(ts, folded.volumes, jnp.minimum(folded.steps // between, volumes))

    return Reduction(init, update, finish, dt)


def _whole(long: float, short: float, name: str, unit: str) -> int:
    count = round(long / short)
    if count < 1 or abs(count * short - long) > 1e-6 * long:
        raise ValueError(f"bold: {name} = {long:g} ms is no multiple of {unit} = {short:g} ms.")
    return count
