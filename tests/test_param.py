"""Parameters: conversion, domains and their bijections, shapes over populations and regions, selection."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import jnm
from jnm._param import cast, check_domains, check_names, domain_of, lift, parameters, region_shape, share


class Tank(eqx.Module):
    """A module with one parameter of each kind."""

    area: jax.Array = jnm.param(
        2.0, unit="mm2", domain=jnm.Positive(), doc="surface", source="a book", status="literature"
    )
    level: jax.Array = jnm.param(0.5, domain=jnm.Interval(0.0, 1.0), doc="filling")
    leak: jax.Array | None = jnm.param(None, unit="1/ms", doc="outflow", optional=True)
    taps: int = eqx.field(default=1, static=True)

    def __check_init__(self):
        check_domains(self)


def test_a_parameter_is_an_array_with_its_knowledge_beside_it():
    tank = Tank(area=3)
    assert isinstance(tank.area, jax.Array) and tank.area.dtype == jnp.float32 and tank.leak is None
    assert list(parameters(tank)) == ["area", "level", "leak"]
    area = parameters(Tank)["area"]
    assert (area.unit, area.doc, area.source, area.status) == ("mm2", "surface", "a book", "literature")
    assert len(jax.tree.leaves(tank)) == 2


def test_double_precision_is_the_default_type_where_it_is_enabled(x64):
    assert Tank().area.dtype == jnp.float64
    assert cast(Tank(), jnp.float32).area.dtype == jnp.float32
    assert cast((1, jnp.arange(3), np.ones(2)), jnp.float32)[1].dtype == jnp.int64


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Tank(area=-1.0), r"Tank: area = -1 is outside its domain \(positive\). area is: surface, in mm2"),
        (lambda: Tank(level=1.5), r"level = 1.5 is outside its domain \(\(0, 1\)\)"),
        (lambda: Tank(level=np.linspace(0.5, 1.5, 100)), r"level = 1.0\d*, .* \(50 of 100 elements\)"),
        (lambda: Tank(leak=np.inf), r"leak = inf is outside its domain \(real\)"),
        (lambda: Tank(area=None), r"a number or an array of real numbers; got None"),
        (lambda: Tank(area={"a": 1}), r"got \{'a': 1\}"),
        (lambda: jnm.Interval(2.0, 1.0), r"low < high, got low=2.0, high=1.0"),
        (lambda: jnm.Interval(0.0, np.inf), r"finite low < high"),
    ],
)
def test_bad_values_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_unknown_names_of_a_model_are_met_with_the_known_ones():
    with pytest.raises(ValueError, match=r"NMM2: unknown parameter taum; known are tau_m, tau_s, delta"):
        jnm.NMM2(taum=7.5, tau_s=2.0, delta=1.0, eta=20.0, C=-20.0)


def test_a_constructor_that_takes_any_name_is_left_alone():
    class Anything:
        def __init__(self, **names):
            pass

    check_names(Anything, ["q"])


def test_the_check_is_left_out_under_a_trace():
    assert jax.jit(lambda area: Tank(area=area).area)(-1.0) == -1.0


def test_a_module_may_narrow_the_domain_of_its_own_instance():
    class Narrow(Tank):
        @property
        def own_domains(self):
            return {"area": jnm.Interval(1.0, 4.0)}

    assert str(domain_of(Narrow(), "area")) == "(1, 4)"
    assert str(domain_of(Tank(), "area")) == "positive"
    assert str(domain_of(Tank(), "taps")) == "real"
    with pytest.raises(ValueError, match=r"area = 5 is outside its domain \(\(1, 4\)\)"):
        Narrow(area=5.0)


@pytest.mark.parametrize("domain", [jnm.Real(), jnm.Positive(), jnm.Interval(-2.0, 5.0)], ids=str)
@settings(deadline=None, max_examples=50)
@given(free=st.floats(-8.0, 8.0))
def test_domains_are_smooth_bijections(domain, free):
    with jax.enable_x64(True):
        value = domain.constrain(jnp.asarray(free))
        assert domain.contains(np.asarray(value))
        np.testing.assert_allclose(domain.unconstrain(value), free, rtol=1e-9, atol=1e-9)
        slope = jax.grad(domain.constrain)(jnp.asarray(free))
        difference = (domain.constrain(free + 1e-5) - domain.constrain(free - 1e-5)) / 2e-5
        assert slope > 0
        np.testing.assert_allclose(slope, difference, rtol=1e-5)


def test_domains_know_their_edges():
    assert jnm.Real().contains(-1e30) and not jnm.Real().contains(np.nan)
    assert not jnm.Positive().contains(0.0) and not jnm.Positive().contains([1.0, np.inf])
    assert not jnm.Interval(0.0, 1.0).contains(1.0) and jnm.Interval(0.0, 1.0).contains([0.1, 0.9])


def test_lift_appends_and_share_prepends_axes():
    assert lift(jnp.ones(2), 2).shape == (2, 1) and lift(jnp.ones((2, 3)), 2).shape == (2, 3)
    assert lift(jnp.asarray(1.0), 2).shape == () and lift(jnp.ones((2, 2)), 3).shape == (2, 2, 1)
    assert share(jnp.ones(3), 2).shape == (1, 3) and share(1.0, 2) == 1.0 and share(jnp.ones((2, 3)), 2).shape == (2, 3)


def test_region_shape_is_what_parameters_agree_on():
    assert region_shape(Tank()) == ()
    assert region_shape(Tank(area=jnp.ones(3))) == (3,)
    assert region_shape(Tank(area=jnp.ones(2)), (2,)) == ()
    assert region_shape(Tank(area=jnp.ones((2, 3)), level=[0.5, 0.5]), (2,)) == (3,)
    assert region_shape(Tank(area=jnp.ones((2, 2)), level=[0.5, 0.5]), (2,), area=(2, 2)) == ()
    with pytest.raises(ValueError, match=r"area has shape \[3\]; it must be \[\] or \[2\] or \[2, region\]"):
        region_shape(Tank(area=jnp.ones(3)), (2,))
    with pytest.raises(ValueError, match="area for 3, level for 4"):
        region_shape(Tank(area=jnp.ones(3), level=jnp.full(4, 0.5)))


def test_at_selects_elements():
    assert jnm.at(lambda m: m.I, 0)(jnm.PING(IE=3.0)) == 3.0
    assert jnm.at(lambda m: m.C, (0, 1))(jnm.PING()) == -13.0
