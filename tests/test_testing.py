"""check_model: it passes what is right, and each of its checks fails on a model that is wrong in just that way."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnm
from jnm._param import share
from jnm.testing import check_model


class LeakyState(NamedTuple):
    """Potential and adaptation."""

    v: jax.Array
    w: jax.Array


class Leaky(jnm.AbstractModel):
    """A node with nothing wrong: v' = (g tanh(v) - v - w + input) / tau, w' = (v - w) / 10."""

    tau: jax.Array = jnm.param(5.0, unit="ms", domain=jnm.Positive(), doc="time constant")
    g: jax.Array = jnm.param(2.0, doc="feedback")

    def init(self):
        return LeakyState(jnp.full_like(self.tau, 0.5), jnp.full_like(self.tau, 0.1))

    def drift(self, t, y, drive):
        dv = (self.g * jnp.tanh(y.v) - y.v - y.w + drive.synaptic + drive.current) / self.tau
        return LeakyState(dv, (y.v - y.w) / 10)

    def output(self, t, y):
        return jax.nn.sigmoid(y.v)

    def source(self, t, y, drive):
        return y.v + drive.synaptic


class PairState(NamedTuple):
    """Two populations."""

    x: jax.Array


class Pair(jnm.AbstractModel):
    """Two populations with nothing wrong; tau is [2]."""

    rank = 1
    tau: jax.Array = jnm.param((5.0, 8.0), unit="ms", domain=jnm.Positive(), doc="time constant")

    def init(self):
        return PairState(jnp.full_like(self.tau, 0.3))

    def lifted(self, y):
        return self.tau.reshape(self.tau.shape + (1,) * (y.x.ndim - self.tau.ndim))

    def drift(self, t, y, drive):
        return PairState((jnp.tanh(y.x) * y.x[::-1] - y.x + share(drive.synaptic, y.x.ndim)) / self.lifted(y))

    def output(self, t, y):
        return y.x[0]

    def source(self, t, y, drive):
        return y.x[0] - y.x[1]


def test_right_models_pass():
    check_model(Leaky())
    check_model(Leaky(tau=4.0), t=3.0, y=LeakyState(jnp.array(1.0), jnp.array(0.0)), drive=jnm.Drive(0.0, 1.0))
    check_model(Leaky(tau=jnp.array([4.0, 5.0])))
    check_model(Pair())


class NoNamedTuple(Leaky):
    def init(self):
        return {"v": self.tau}


class PythonStart(Leaky):
    def init(self):
        return LeakyState(0.5, self.tau)


class IntegerStart(Leaky):
    def init(self):
        return LeakyState(jnp.array(1), self.tau)


class StartOutside(Leaky):
    def constrain(self, y):
        return y._replace(v=jnp.maximum(y.v, 1.0))


class ConstrainsTwice(Leaky):
    def constrain(self, y):
        return y._replace(v=jnp.where(y.v > 0.5, y.v / 2, y.v))


class ConstrainLosesField(Leaky):
    def constrain(self, y):
        return LeakyState(y.v, None)


class DriftIsTuple(Leaky):
    def drift(self, t, y, drive):
        return tuple(Leaky.drift(self, t, y, drive))


class DropsField(Leaky):
    def drift(self, t, y, drive):
        return Leaky.drift(self, t, y, drive)._replace(w=None)


class HalfPrecision(Leaky):
    def drift(self, t, y, drive):
        return Leaky.drift(self, t, y, drive)._replace(w=(y.v - y.w).astype(jnp.float16))


class SingleUnderDouble(Leaky):
    def drift(self, t, y, drive):
        return Leaky.drift(self, t, y, drive)._replace(w=jnp.float32(0.1) * (y.v - y.w).astype(jnp.float32))


class WrongShape(Leaky):
    def drift(self, t, y, drive):
        return Leaky.drift(self, t, y, drive)._replace(w=jnp.stack([y.v, y.w]))


class NotFinite(Leaky):
    def drift(self, t, y, drive):
        return Leaky.drift(self, t, y, drive)._replace(w=jnp.log(-y.v * y.v))


class SendsAllPopulations(Pair):
    def output(self, t, y):
        return y.x


class SendsMatrix(Leaky):
    def output(self, t, y):
        return y.v * jnp.eye(2)

    source = lambda self, t, y, drive: y.v * jnp.eye(2)  # noqa: E731


class RegionFirst(Pair):
    def output(self, t, y):
        return jnp.repeat(y.x[0], 3)

    def source(self, t, y, drive):
        return jnp.repeat(y.x[0], 3)


class WrongRank(Pair):
    rank = 0


class WideNoise(Leaky):
    def diffusion(self, t, y):
        return LeakyState(jnp.ones(3), None)


class NoiseIsNumber(Leaky):
    def diffusion(self, t, y):
        return 0.1


class UnnamedCalculus(Leaky):
    def diffusion(self, t, y):
        return LeakyState(0.1 * y.v, None)


class OddCalculus(Leaky):
    calculus = "itô"


class ItoNoise(UnnamedCalculus):
    calculus = "ito"


class Random(Leaky):
    def drift(self, t, y, drive):
        return Leaky.drift(self, t, y, drive)._replace(w=y.v * np.random.default_rng().normal())


class KnowsJit(Leaky):
    def drift(self, t, y, drive):
        factor = 1.1 if isinstance(y.v, jax.core.Tracer) else 1.0
        return Leaky.drift(self, t, y, drive)._replace(w=factor * (y.v - y.w))


class Concrete(Leaky):
    def drift(self, t, y, drive):
        return Leaky.drift(self, t, y, drive)._replace(w=y.w * float(self.g))


class Branches(Leaky):
    def drift(self, t, y, drive):
        return Leaky.drift(self, t, y, drive) if y.v > 0 else y


class PythonField(Leaky):
    k: float = 0.1

    def drift(self, t, y, drive):
        return Leaky.drift(self, t, y, drive)._replace(w=(y.v - y.w) * self.k)


class SumsRegions(Leaky):
    def drift(self, t, y, drive):
        return Leaky.drift(self, t, y, drive)._replace(w=jnp.full_like(y.w, jnp.sum(y.v)) - y.w)


class SourceMeansRegions(Leaky):
    def source(self, t, y, drive):
        return y.v - jnp.mean(y.v)


class Unlifted(Pair):
    def lifted(self, y):
        return self.tau


class ShiftsRegions(Pair):
    def drift(self, t, y, drive):
        return PairState((y.x[..., ::-1] - y.x) / self.lifted(y))


class OnlyCommonParameters(Leaky):
    def drift(self, t, y, drive):
        return Leaky.drift(self, t, y, drive)._replace(w=(y.v - y.w) * jnp.ravel(self.g)[0])


class StopsGradient(Leaky):
    def drift(self, t, y, drive):
        return Leaky.drift(self, t, y, drive)._replace(w=jax.lax.stop_gradient(self.g) * y.v - y.w)


class SmallGradientError(Leaky):
    def drift(self, t, y, drive):
        return Leaky.drift(self, t, y, drive)._replace(w=y.v * (1 + 1e-5 * (jax.lax.stop_gradient(y.v) - 1)) - y.w)


class NotANumberGradient(Leaky):
    def drift(self, t, y, drive):
        root = jnp.where(y.v > 100, jnp.sqrt(y.v - 100), 0.0)
        return Leaky.drift(self, t, y, drive)._replace(w=root - y.w)


class SourceStopsGradient(Leaky):
    def source(self, t, y, drive):
        return jax.lax.stop_gradient(y.v)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (NoNamedTuple, r"NoNamedTuple.init returned a dict; a state is a NamedTuple"),
        (PythonStart, r"PythonStart.init: v = 0.5; want a floating-point jax array"),
        (IntegerStart, r"IntegerStart.init: v = .*floating-point"),
        (StartOutside, r"StartOutside.constrain changes init\(\)"),
        (ConstrainsTwice, r"constrain applied twice is not constrain applied once"),
        (ConstrainLosesField, r"ConstrainLosesField.constrain: w is None, the state has float32\[\]"),
        (DriftIsTuple, r"DriftIsTuple.drift returned a tuple; want a LeakyState"),
        (DropsField, r"DropsField.drift: w is None, the state has float32\[\]"),
        (HalfPrecision, r"drift: w is float16\[\], the state has float32\[\]"),
        (SingleUnderDouble, r"drift: w is float32\[\], the state has float64\[\]"),
        (WrongShape, r"drift: w is float32\[2\], the state has float32\[\]"),
        (NotFinite, r"NotFinite.drift: w is not finite"),
        (SendsAllPopulations, r"output has shape \(2,\), source \(\); both are one number a region"),
        (SendsMatrix, r"output has shape \(2, 2\)"),
        (RegionFirst, r"output has 3 regions, but x has shape \(2,\); region is the last axis"),
        (WrongRank, r"WrongRank: rank = 0, but the fields of the state have \[1\] axes"),
        (WideNoise, r"WideNoise.diffusion: v is float\d\d\[3\], the state has float64\[\]"),
        (NoiseIsNumber, r"NoiseIsNumber.diffusion returned a float; want a LeakyState"),
        (UnnamedCalculus, r"diffusion depends on the state: set calculus = 'ito' or"),
        (OddCalculus, r"OddCalculus.calculus = 'itô'; want"),
        (Random, r"Random gives another answer when asked again, or under jax.jit"),
        (KnowsJit, r"KnowsJit gives another answer"),
        (Concrete, r"Concrete cannot be compiled: .*no float\(\)"),
        (Branches, r"Branches cannot be compiled: .*jnp.where instead of if"),
        (
            PythonField,
            r"ten parameter values were compiled 10 times. Fields that hold Python numbers: \.k\. .*jnm.param",
        ),
        (
            SumsRegions,
            r"SumsRegions.drift on 2 regions at once, with parameters in common is not what it is region by region",
        ),
        (SourceMeansRegions, r"SourceMeansRegions.source on 2 regions at once"),
        (Unlifted, r"Unlifted works on one region but fails on 3 regions at once.*needs one more"),
        (ShiftsRegions, r"ShiftsRegions.drift on 3 regions at once, with parameters in common is not"),
        (OnlyCommonParameters, r"drift on 2 regions at once, with a value of every parameter for each region is not"),
        (StopsGradient, r"gradient of drift.w with respect to model.g, along one direction, is 0 by jax.grad and"),
        (SmallGradientError, r"gradient of drift.w with respect to y.v"),
        (NotANumberGradient, r"gradient of drift.[vw] with respect to y.v.* is nan by jax.grad"),
        (SourceStopsGradient, r"gradient of source with respect to y.v"),
    ],
)
def test_each_wrong_model_is_told_what_is_wrong(model, message):
    with pytest.raises(AssertionError, match=r"(?s)" + message):
        check_model(model())


def test_named_multiplicative_noise_passes():
    check_model(ItoNoise())


def test_a_looser_tolerance_is_the_users_choice():
    check_model(SmallGradientError(), rtol=1e-3)


def test_networks_are_checked_with_their_own_regions():
    net = jnm.Network(Pair(), jnm.Connectome([[0.0, 0.5, 0.2], [0.3, 0.0, 0.4], [0.1, 0.6, 0.0]]), jnm.Linear(gain=2.0))
    check_model(net)
    with pytest.raises(AssertionError, match=r"gradient of drift.w with respect to model.node.g"):
        check_model(jnm.Network(StopsGradient(), net.connectome, net.coupling))
