"""The connectome: what it accepts and refuses, its scales, its spectrum, and that it is a PyTree like any other."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from jax.test_util import check_grads

from jnm.network.connectome import Connectome


@pytest.fixture
def human(data_dir) -> Connectome:
    return Connectome.read(data_dir / "connectome" / "sc2017.dat")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def three(**fields) -> Connectome:
    return Connectome([[0.0, 1.0, 3.0], [2.0, 0.0, 0.0], [0.5, 0.5, 0.0]], **fields)


def full(rng, n=5) -> Connectome:
    normals = rng.normal(size=(n, 3))
    return Connectome(
        rng.uniform(0.1, 1.0, (n, n)),
        rng.uniform(5.0, 200.0, (n, n)),
        rng.normal(size=(n, 3)) * 50,
        normals / np.linalg.norm(normals, axis=1, keepdims=True),
        [*"ABCDE"[:n]],
    )


def balanced(rng, n=12) -> tuple[np.ndarray, np.ndarray]:
    """A = diag(c) S with a third of the pairs missing, and c."""
    s = rng.lognormal(size=(n, n)) * (rng.uniform(size=(n, n)) < 0.8)
    c = rng.lognormal(size=n)
    return c[:, None] * (s * s.T), c


# Spectrum


def test_spectrum_of_the_human_connectome_is_that_of_the_specification(human):
    """shared/spec/brain-network.md 4, computed there twice independently."""
    values = human.normalised("rows").eigenvalues()
    assert values.dtype == np.float64
    np.testing.assert_allclose(values[:5], [1, 0.739349, 0.654258, 0.568725, 0.498746], atol=1e-6)
    assert values[-1] == pytest.approx(-0.256715, abs=1e-6)
    assert (np.sum(values > 0), np.sum(values > 0.1)) == (31, 20)


def test_the_symmetric_solver_finds_what_the_general_one_finds(human, x64):
    brain = Connectome(np.asarray(human.weights)).normalised("rows")
    general = np.sort(scipy.linalg.eigvals(np.asarray(brain.weights)).real)[::-1]
    np.testing.assert_allclose(brain.eigenvalues(), general, atol=1e-7)


@pytest.mark.parametrize(
    ("wrong", "second"),
    [(lambda a: (a + a.T) / 2, 0.7525417), (lambda a: a.T, 0.7631471)],
    ids=["averaged", "transposed"],
)
def test_reading_the_matrix_wrongly_changes_the_spectrum(human, wrong, second):
    found = Connectome(wrong(human.weights)).normalised("rows").eigenvalues()[1]
    assert found == pytest.approx(second, abs=1e-6)
    assert abs(found - 0.739349) > 0.01


def test_balance_finds_the_factors(rng, x64):
    a, c = balanced(rng)
    found = Connectome(a).balance()
    np.testing.assert_allclose(found, c / np.exp(np.mean(np.log(c))), rtol=1e-9)


def test_balance_is_lost_by_a_thousandth_on_one_connection(rng):
    a = balanced(rng)[0]
    to, source = np.argwhere(np.triu(a, 1))[0]
    a[to, source] *= 1.001
    assert Connectome(a).balance() is None


def test_balance_of_the_human_connectome_holds_to_the_digits_of_its_file(human):
    a = np.asarray(human.weights, dtype=float)
    s = a / human.balance()[:, None]
    connected = a > 0
    assert np.abs(s - s.T).max() < 3e-6  # the specification: 2e-6
    assert np.abs(np.log(s[connected]) - np.log(s.T[connected])).max() < 2e-5
    assert (a[connected] / a.T[connected]).max() == pytest.approx(26.687, abs=1e-3)


@pytest.mark.parametrize(
    "weights", [[[0, 1, 0], [0, 0, 1], [1, 0, 0]], [[0, 1, 2], [1, 0, 1], [1, 1, 0]], [[0, 1], [-1, 0]]]
)
def test_without_detailed_balance_the_spectrum_may_be_complex(weights):
    one_way = Connectome(weights)
    assert one_way.balance() is None
    expected = np.linalg.eigvals(np.array(weights, dtype=float))
    np.testing.assert_allclose(np.sort_complex(one_way.eigenvalues()), np.sort_complex(expected), atol=1e-12)


@pytest.mark.parametrize("reversible", [True, False])
def test_modes_diagonalise_the_weights(rng, reversible):
    a = balanced(rng)[0] if reversible else rng.uniform(size=(12, 12))
    brain = Connectome(a).normalised("rows")
    values, right, left = brain.modes()
    np.testing.assert_allclose(left @ right, np.eye(12), atol=1e-10)
    np.testing.assert_allclose(right @ np.diag(values) @ left, np.asarray(brain.weights), atol=2e-7)  # float32 weights
    np.testing.assert_allclose(np.linalg.norm(right, axis=0), 1.0)
    np.testing.assert_allclose(np.abs(right[:, 0]), 12**-0.5, atol=1e-6)  # rows of sum 1: the first mode is uniform
    np.testing.assert_allclose(values, brain.eigenvalues(), atol=1e-12)


def test_modes_of_a_chain_are_refused_and_its_eigenvalues_are_not():
    chain = Connectome([[0, 0, 0], [1, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(chain.eigenvalues(), 0)
    with pytest.raises(ValueError, match="no full set of eigenvectors"):
        chain.modes()


# Scales


def test_normalised(rng):
    brain = full(rng)
    np.testing.assert_allclose(brain.normalised("rows").weights.sum(axis=1), 1.0, rtol=1e-6)
    assert brain.normalised("max").weights.max() == 1.0
    assert abs(brain.normalised("spectral").eigenvalues()[0]) == pytest.approx(1.0, abs=1e-6)
    for how in ("rows", "max", "spectral"):
        ratio = brain.normalised(how).weights / brain.weights
        np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:, :1], ratio.shape), rtol=1e-5)
        assert jnp.array_equal(brain.normalised(how).lengths, brain.lengths)


def test_negative_weights_count_by_their_modulus():
    brain = Connectome([[0.0, -3.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    np.testing.assert_allclose(brain.normalised("rows").weights[0], [0, -0.75, 0.25])
    assert brain.normalised("max").weights.min() == -1.0


def test_an_empty_row_is_an_error_that_names_the_region():
    brain = Connectome([[0.0, 1.0], [0.0, 0.0]], labels=["thalamus", "cortex"])
    with pytest.raises(ValueError, match=r"'cortex' receive nothing \(rows \[1\].*transposed"):
        brain.normalised("rows")
    for how in ("max", "spectral"):
        with pytest.raises(ValueError, match="scale is 0"):
            Connectome(np.zeros((2, 2))).normalised(how)
    with pytest.raises(ValueError, match=r"'columns'.*'rows', 'max' and 'spectral'"):
        brain.normalised("columns")


@pytest.mark.parametrize("how", ["rows", "max", "spectral"])
def test_normalised_is_the_same_traced_and_differentiable(rng, x64, how):
    brain = full(rng)
    eager, traced = brain.normalised(how).weights, eqx.filter_jit(Connectome.normalised)(brain, how).weights
    np.testing.assert_allclose(eager, traced, rtol=1e-12)

    def scaled(weights):
        return jnp.sum(Connectome(weights).normalised(how).weights ** 3)

    check_grads(scaled, (brain.weights,), order=1, modes=["rev"], rtol=1e-6)


def test_a_traced_empty_row_stays_zero_with_a_finite_gradient():
    gradient = jax.grad(lambda w: Connectome(w).normalised("rows").weights.sum())(jnp.array([[0.0, 1.0], [0.0, 0.0]]))
    assert jnp.all(jnp.isfinite(gradient))


# A PyTree


def test_survives_flattening_jit_vmap_and_grad(rng):
    brain = full(rng)
    leaves, structure = jax.tree.flatten(brain)
    assert len(leaves) == 4 and all(leaf.dtype == jnp.float32 for leaf in leaves)
    assert eqx.tree_equal(jax.tree.unflatten(structure, leaves), brain)
    stacked = jax.tree.map(lambda *x: jnp.stack(x), brain, full(rng))
    batch = jax.jit(jax.vmap(lambda c: c.normalised("rows")))(stacked)
    np.testing.assert_allclose(batch.weights.sum(axis=-1), 1.0, rtol=1e-6)
    assert (batch.labels, batch.n_regions) == (brain.labels, 5)
    gradient = jax.grad(lambda c: jnp.sum(c.weights * c.lengths))(brain)
    assert jnp.array_equal(gradient.weights, brain.lengths) and jnp.array_equal(gradient.lengths, brain.weights)


def test_other_values_do_not_compile_anew():
    traces = []

    @jax.jit
    def total(brain):
        traces.append(1)
        return brain.weights.sum()

    for scale in range(1, 11):
        total(Connectome(scale * np.eye(3)))
    assert len(traces) == 1


def test_can_be_built_under_tracing_where_only_shapes_are_checked():
    build = jax.vmap(lambda w: Connectome(w, lengths=-w).weights.sum())
    np.testing.assert_allclose(build(jnp.ones((4, 3, 3))), 9.0)
    with pytest.raises(ValueError, match="square matrix"):
        jax.jit(lambda w: Connectome(w).weights)(jnp.ones((2, 3)))


def test_repr_is_one_short_line_everywhere(rng):
    brain = full(rng)
    text = repr(brain)
    assert "5 regions, density 1, 5 self-connections, lengths" in text and "head" in text and "\n" not in text
    seen = []
    jax.jit(lambda c: seen.append(repr(c)))(brain)
    jax.vmap(lambda c: seen.append(repr(c)))(jax.tree.map(lambda x: x[None], brain))
    seen += [repr(jax.tree.map(lambda x: x[None], brain)), repr(jax.tree.map(lambda _: None, brain))]
    assert all(line.startswith("Connectome(") for line in seen)


# Regions


def test_subset_takes_everything_along(rng):
    brain = full(rng)
    part = brain.subset(["D", 0, np.int64(-1)])
    assert part.labels == ("D", "A", "E")
    assert jnp.array_equal(part.weights, brain.weights[jnp.ix_(jnp.array([3, 0, 4]), jnp.array([3, 0, 4]))])
    assert part.lengths[0, 1] == brain.lengths[3, 0] and jnp.array_equal(part.centres[2], brain.centres[4])
    assert jnp.array_equal(part.orientations[1], brain.orientations[0]) and part.frame == brain.frame
    assert eqx.tree_equal(brain.subset(["E", "B", "C", "A", "D"]).reordered(brain.labels), brain)


def test_permuting_regions_leaves_the_spectrum(rng):
    brain = Connectome(balanced(rng)[0])
    shuffled = brain.subset(rng.permutation(12))
    np.testing.assert_allclose(shuffled.eigenvalues(), brain.eigenvalues(), atol=1e-6)


@pytest.mark.parametrize(
    ("regions", "message"),
    [
        (["A", "a1"], "No region is called 'a1'.*A, B, C"),
        ([3], "Region 3 does not exist: there are 3"),
        ([True, False, True], r"np.flatnonzero\(mask\)"),
        ([0.5], "label or an index; got 0.5"),
        ([0, "A"], "'A' came more than once"),
        ([], "weights came with shape"),
        ("A1", r"one text, 'A1', came; wanted a list of regions, such as \['A1'\]"),
    ],
)
def test_subset_refuses(regions, message):
    with pytest.raises(ValueError, match=message):
        three(labels=["A", "B", "C"]).subset(regions)


def test_reordered_refuses_to_lose_a_region():
    with pytest.raises(ValueError, match="'B' not in the new order; to leave regions out use subset"):
        three(labels=["A", "B", "C"]).reordered(["C", "A"])


def test_numbers_are_no_labels(rng):
    unnamed = three()
    assert unnamed.labels == ("region01", "region02", "region03")
    assert not unnamed.labelled and not unnamed.subset([2, 0]).labelled
    assert full(rng).labelled


def test_density_and_self_connections():
    assert three().density == pytest.approx(5 / 6)
    looped = Connectome([[4.0, 1.0], [1.0, 0.0]])
    assert looped.density == 1.0 and Connectome([[1.0]]).density == 0.0
    assert jnp.array_equal(looped.without_self_connections().weights, jnp.array([[0.0, 1.0], [1.0, 0.0]]))


def test_reordering_to_another_atlas_takes_its_labels(rng):
    brain, other = full(rng), Connectome(np.eye(5), labels=["E", "A", "C", "D", "B"])
    assert brain.reordered(other).labels == other.labels
    assert brain.reordered(other).weights[0, 4] == brain.weights[4, 1]


@pytest.mark.parametrize(
    ("labels", "sides"),
    [
        (["lh_insula", "ctx-rh-cuneus", "Right-Thalamus"], "LRR"),
        (["L.BSTS", "r_lateral", "7Networks_LH_Vis_1"], "LRL"),
        (["Insula_L", "RM-TCs_R", "insula-rh"], "LRR"),
        (["lA1", "rAMYG", "L07"], "LRL"),
        (["SFG_L_7_1", "INS_R_6_6", "R_V3_L_ROI"], "LRR"),
        (["V1", "R01", "Vermis_3"], " R "),
    ],
)
def test_hemispheres_by_name(labels, sides):
    centres = [[99.0, 0, 0], [-99.0, 0, 0], [0.0, 0, 1]]  # names go before places
    found = Connectome(np.eye(3), labels=labels, centres=centres).hemispheres
    assert found == tuple(side.strip() for side in sides)


def test_hemispheres_by_place_where_no_name_tells():
    centres = [[-9.0, 0, 0], [9.0, 0, 0], [0.0, 0, 1]]
    assert Connectome(np.eye(3), centres=centres).hemispheres == ("L", "R", "")
    for unknown in (Connectome(np.eye(3)), Connectome(np.eye(3), centres=centres, frame="unknown")):
        with pytest.raises(ValueError, match="'region01' tell no side"):
            unknown.hemispheres  # noqa: B018


def test_where_a_real_spectrum_is_required_others_are_refused(rng):
    one_way = Connectome([[0, 1, 0], [0, 0, 1], [1, 0, 0]])
    for spectrum in (one_way.eigenvalues, one_way.modes):
        with pytest.raises(
            ValueError, match=r"3 connections go one way only.*symmetrise before the rows are normalised"
        ):
            spectrum(real=True)
    brain = Connectome(balanced(rng)[0])
    assert brain.eigenvalues(real=True).dtype == np.float64
    np.testing.assert_array_equal(brain.modes(real=True).right, brain.modes().right)


# Bad input


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"weights": np.ones((2, 3))}, r"shape \(2, 3\); wanted a square matrix"),
        ({"weights": np.ones(4)}, r"shape \(4,\); wanted a square"),
        ({"weights": np.ones((0, 0))}, "wanted a square matrix"),
        (
            {"weights": [[0.0, np.nan], [np.inf, 0.0]]},
            r"weights: 2 of 4 values are not finite, the first in row 0 \(region01\), column 1",
        ),
        ({"weights": [["a", "b"], ["c", "d"]]}, "weights must be an array of real numbers; got list"),
        ({"weights": [[1.0], [1.0, 2.0]]}, "weights must be an array of real numbers"),
        ({"weights": np.eye(2) * 1j}, "real numbers; got ndarray of complex128"),
        ({"weights": [["1", "2"], ["3", "4"]]}, "real numbers; got list of <U1"),
        ({"weights": np.full((2, 2), 1e300)}, "weights: 4 of 4 values are not finite"),
        ({"weights": None}, "weights must be an array"),
        ({"lengths": np.ones((3, 3))}, r"lengths came with shape \(3, 3\); wanted \(2, 2\)"),
        ({"lengths": [[0.0, -1.0], [1.0, 0.0]]}, r"lengths: 1 of 4 values are negative, the first in row 0 .*mm"),
        ({"lengths": [[0.0, np.nan], [1.0, 0.0]]}, "lengths: 1 of 4 values are not finite.*write 0"),
        ({"centres": np.ones((2, 2))}, r"centres came with shape \(2, 2\); wanted \(2, 3\)"),
        ({"centres": [[0.0, 0.0, np.nan], [0.0, 0.0, 0.0]]}, "centres: 1 of 6 values are not finite"),
        ({"orientations": np.ones((3, 3))}, r"orientations came with shape \(3, 3\)"),
        ({"orientations": [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]}, r"not of length one, the first in row 1 .*divide"),
        ({"orientations": np.full((2, 3), 1e30)}, "orientations: 2 of 6 values are not of length one"),
        ({"labels": ["a"]}, "labels: 1 came for 2 regions"),
        ({"labels": ["a", "a"]}, "labels must differ, but 'a' came more than once"),
        ({"labels": "ab"}, "labels came as one string"),
    ],
)
def test_bad_input_is_refused_with_what_came_and_what_was_wanted(fields, message):
    with pytest.raises(ValueError, match=message):
        Connectome(**({"weights": np.ones((2, 2))} | fields))


def test_takes_data_frames_and_lists_of_traced_numbers():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame([[0, 1], [2, 0]], columns=["A", "B"])
    assert jnp.array_equal(Connectome(frame, labels=frame.columns).weights, jnp.array([[0.0, 1.0], [2.0, 0.0]]))
    assert jax.grad(lambda x: Connectome([[0.0, x], [x, 0.0]]).weights.sum())(1.0) == 2.0
