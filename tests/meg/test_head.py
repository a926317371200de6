"""Head position: against SciPy's rotations, MNE's own head transform, and finite differences of everything that moves."""

import jax
import jax.numpy as jnp
import mne
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from jnm.meg import HeadPosition, LeadField, Sensors, infinite_lead_field, sphere_lead_field

ORIGIN = np.array([0.0, 0.0, 45.0])


def relative(got, wanted):
    return np.linalg.norm(np.asarray(got) - wanted) / np.linalg.norm(wanted)


def test_rotations_are_those_of_scipy(x64):
    rotations = np.array([[0.0], [1e-9], [1e-3], [9.9e-3], [1.1e-2], [0.5], [3.0]]) * np.array([[0.6, -0.48, 0.64]])
    turn = jax.jit(jax.vmap(lambda w: HeadPosition(w).matrix))
    matrices = turn(rotations)
    np.testing.assert_allclose(matrices, Rotation.from_rotvec(rotations).as_matrix(), atol=1e-15)
    np.testing.assert_allclose(matrices @ matrices.swapaxes(1, 2), np.broadcast_to(np.eye(3), (7, 3, 3)), atol=1e-14)
    slopes = jax.jit(jax.vmap(jax.jacobian(lambda w: HeadPosition(w).matrix)))(rotations)
    h = 1e-6
    numeric = [(turn(rotations + e[None]) - turn(rotations - e[None])) / (2 * h) for e in h * np.eye(3)]
    np.testing.assert_allclose(slopes, np.stack(numeric, axis=-1), atol=1e-8)


def opm_info(n=60):
    """Optically pumped magnetometers at random places and angles about a head, and a head at an angle in them."""
    rng = np.random.default_rng(5)
    info = mne.create_info([f"OPM {i}" for i in range(n)], 1000.0, "mag")
    for channel, axes in zip(info["chs"], Rotation.random(n, rng=rng).as_matrix(), strict=True):
        out = rng.normal(size=3)
        out[2] = abs(out[2])
        place = 0.105 * out / np.linalg.norm(out)
        channel.update(loc=np.concatenate([place, axes.T.ravel()]), coil_type=8101, coord_frame=1)
    transform = np.eye(4)
    transform[:3, :3] = Rotation.from_rotvec([0.1, -0.05, 0.2]).as_matrix()
    transform[:3, 3] = 0.002, -0.004, 0.045
    info["dev_head_t"] = mne.transforms.Transform("meg", "head", transform)
    return info


def mne_lead_field(info, positions):
    places = dict(rr=positions / 1e3, nn=np.tile([0.0, 0.0, 1.0], (len(positions), 1)))
    space = mne.setup_volume_source_space(pos=places, sphere_units="m", verbose="error")
    sphere = mne.make_sphere_model(ORIGIN / 1e3, head_radius=None, verbose="error")
    forward = mne.make_forward_solution(info, None, space, sphere, eeg=False, mindist=0.0, verbose="error")
    return 1e6 * forward["sol"]["data"].reshape(len(info.ch_names), -1, 3)


@pytest.mark.parametrize("system", ["opm", "ctf275"])
def test_random_geometry_and_head_position_equal_mne(system, x64):
    info = opm_info()
    if system == "ctf275":
        transform = info["dev_head_t"]
        info = mne.channels.read_meg_canonical_info("ctf275", verbose="error")
        info["dev_head_t"] = transform
        info["dev_head_t"]["trans"][1, 3] += 0.016
    rng = np.random.default_rng(6)
    positions = ORIGIN + rng.uniform(5, 75, (8, 1)) * Rotation.random(8, rng=rng).apply([0.0, 0.0, 1.0])
    sensors = HeadPosition.from_info(info)(Sensors.from_info(info, frame="device"))
    wanted = mne_lead_field(info, positions)
    assert relative(sphere_lead_field(positions, Sensors.from_info(info), ORIGIN), wanted) < 1e-12
    assert relative(sphere_lead_field(positions, sensors, ORIGIN), wanted) < 1e-12
    assert set(sensors.units) == {"fT"}


def test_gradients_equal_finite_differences(x64):
    """By dipole, orientation, origin, rotation and translation, a planar gradiometer among the coils."""
    device = Sensors.canonical("neuromag", (0.0, 0.0, 0.0)).pick(["MEG 0111", "MEG 0113", "MEG 1421"])

    @jax.jit
    def measured(x):
        position, moment, origin, rotation, translation = x.reshape(5, 3)
        here = HeadPosition(rotation, translation)(device)
        return jnp.einsum("csx,x->c", sphere_lead_field(position[None], here, origin), moment)

    start = np.array([20.0, -30.0, 80.0, 0.3, -0.5, 0.8, *ORIGIN, 0.1, -0.2, 0.05, 2.0, 5.0, 50.0])
    for rotation in ([0.1, -0.2, 0.05], [0.0, 0.0, 0.0]):
        start[9:12] = rotation
        gradient = np.asarray(jax.jacobian(measured)(jnp.asarray(start)))
        steps = np.repeat([1e-3, 1e-3, 1e-3, 1e-5, 1e-3], 3)
        differences = np.stack(
            [
                (measured(start + h * e) - measured(start - h * e)) / (2 * h)
                for h, e in zip(steps, np.eye(15), strict=True)
            ]
        ).T
        for part in range(5):
            columns = slice(3 * part, 3 * part + 3)
            assert relative(gradient[:, columns], differences[:, columns]) < 1e-6


def test_moved_coils_keep_their_noise_and_compensation():
    sensors = Sensors.canonical("ctf151")
    moved = HeadPosition(translation_mm=[1.0, 2.0, 3.0])(sensors)
    np.testing.assert_allclose(
        moved.points - sensors.points, np.broadcast_to([1, 2, 3], sensors.points.shape), atol=1e-4
    )
    assert moved.ch_names == sensors.ch_names and moved.weights is sensors.weights
    with pytest.raises(ValueError, match=r"rotation of shape \[2\]"):
        HeadPosition([0.0, 1.0])
    with pytest.raises(ValueError, match="outside its domain"):
        HeadPosition([0.0, np.nan, 0.0])
    with pytest.raises(ValueError, match='wanted "head" or "device"'):
        Sensors.from_info(opm_info(2), frame="mri")
    info = opm_info(2)
    info["dev_head_t"] = None
    assert len(Sensors.from_info(info, frame="device").ch_names) == 2
    with pytest.raises(ValueError, match="no head position"):
        HeadPosition.from_info(info)


def test_point_magnetometers_and_the_infinite_medium(x64):
    """mu0/4pi q x r / r^3 by hand: 10 nA m at 50 mm make 400 fT."""
    sensors = Sensors.point([[50.0, 0.0, 0.0], [0.0, 0.0, 50.0]], [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    np.testing.assert_allclose(sensors.noise_density, [10.0, 10.0])
    lead = LeadField.infinite([[0.0, 0.0, 0.0]], [[0.0, 0.0, 1.0]], sensors)
    np.testing.assert_allclose(lead(jnp.asarray([10.0])), [400.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(LeadField.infinite([[0.0, 0.0, 0.0]], None, sensors).gain[0, 0], [0.0, 0.0, 40.0])
    with pytest.raises(ValueError, match="source 1 at .* from a coil; wanted at least 5 mm"):
        infinite_lead_field([[0.0, 0.0, 0.0], [49.0, 0.0, 0.0]], sensors)
    for wrong, message in ((([[0.0, 1.0]], [[0.0, 1.0]]), "wanted \\[channel, 3\\]"),):
        with pytest.raises(ValueError, match=message):
            Sensors.point(*wrong)
    with pytest.raises(ValueError, match="1 ch_names for 2 positions"):
        Sensors.point(sensors.points[:, 0], sensors.normals[:, 0], ch_names=["one"])


def test_sources_outside_the_sphere_are_an_error():
    sensors = Sensors.canonical()
    inside = sphere_lead_field([[0.0, 30.0, 90.0]], sensors, ORIGIN, radius_mm=80.0)
    assert inside.shape == (306, 1, 3)
    with pytest.raises(ValueError, match=r"radius 50 mm .* the farthest source is 54.1 mm"):
        sphere_lead_field([[0.0, 30.0, 90.0]], sensors, ORIGIN, radius_mm=50.0)
    with pytest.raises(ValueError, match="wanted sources inside, coils outside"):
        LeadField.sphere([[0.0, 30.0, 90.0]], None, sensors, ORIGIN, radius_mm=200.0)
