"""Coils, compensation, noise and layout, against MNE and SciPy."""

import sys

import jax
import jax.numpy as jnp
import mne
import numpy as np
import pytest
from mne.io.constants import FIFF
from scipy.signal import welch

from jnm.meg import Sensors, sphere_lead_field

POSITIONS = np.array([[0.0, 30.0, 90.0], [50.0, -10.0, 70.0], [-30.0, -60.0, 50.0]])
ORIGIN = np.array([0.0, 0.0, 45.0])
# every MEG coil MNE defines (mne/data/coil_def.dat): Neuromag-122, point, Vectorview, Magnes, CTF, KIT, BabyMEG,
# Artemis, QuSpin, FieldLine, Kernel, KRISS, Compumedics
COIL_TYPES = [
    2,
    2000,
    3012,
    3013,
    3014,
    3015,
    3022,
    3023,
    3024,
    3025,
    4001,
    4002,
    4003,
    4004,
    4005,
    5001,
    5002,
    5003,
    5004,
] + [6001, 6002, 7001, 7002, 7003, 7004, 7501, 7502, 7503, 8001, 8002, 8101, 8201, 9001, 9101, 9102]
PLANAR = {2, 3012, 3013, 3014, 3015}


def info_of(coil_types):
    """An Info with a channel of each coil type at a place of the CTF helmet, and a head in it."""
    helmet = mne.channels.read_meg_canonical_info("ctf151", verbose="error")
    info = mne.create_info([f"MEG {i}" for i in range(len(coil_types))], 1000.0, "mag")
    for channel, place, coil_type in zip(info["chs"], helmet["chs"][::3], coil_types, strict=False):
        channel.update(loc=place["loc"].copy(), coil_type=coil_type, coord_frame=place["coord_frame"])
        if coil_type in PLANAR:
            channel["unit"] = FIFF.FIFF_UNIT_T_M
    rotation = mne.transforms.rotation(0.1, -0.2, 0.05)
    rotation[:3, 3] = 0.003, 0.01, 0.055
    info["dev_head_t"] = mne.transforms.Transform("meg", "head", rotation)
    return info


def mne_lead_field(info):
    """MNE's own lead field of POSITIONS in a sphere, fT or fT/cm per nA m, [channel, source, 3]."""
    places = dict(rr=POSITIONS / 1e3, nn=np.tile([0.0, 0.0, 1.0], (len(POSITIONS), 1)))
    space = mne.setup_volume_source_space(pos=places, sphere_units="m", verbose="error")
    sphere = mne.make_sphere_model(ORIGIN / 1e3, head_radius=None, verbose="error")
    forward = mne.make_forward_solution(info, None, space, sphere, eeg=False, mindist=0.0, verbose="error")
    scale = [1e4 if kind == "grad" else 1e6 for kind in forward["info"].get_channel_types()]
    return np.array(scale)[:, None, None] * forward["sol"]["data"].reshape(len(scale), -1, 3), forward.ch_names


def relative(got, wanted):
    return np.linalg.norm(np.asarray(got) - wanted) / np.linalg.norm(wanted)


def test_every_coil_type_of_mne(x64):
    info = info_of(COIL_TYPES)
    sensors, (wanted, ch_names) = Sensors.from_info(info), mne_lead_field(info)
    got = sphere_lead_field(POSITIONS, sensors, ORIGIN)
    assert list(sensors.ch_names) == ch_names
    assert sensors.units == tuple("fT/cm" if coil in PLANAR else "fT" for coil in COIL_TYPES)
    for row, coil_type in enumerate(COIL_TYPES):
        assert relative(got[row], wanted[row]) < 1e-12, f"coil type {coil_type}"


def test_no_coil_type_of_mne_is_forgotten():
    with pytest.raises(ValueError, match="coil type 77, which MNE does not define") as error:
        Sensors.from_info(info_of([77]))
    known = str(error.value).split("known: ")[1].rstrip(".")
    assert sorted(COIL_TYPES) == [int(number) for number in known.split(", ")]


@pytest.mark.parametrize("system", ["neuromag", "ctf151", "ctf275"])
def test_canonical_helmets_equal_mne(system, x64):
    translation = np.array([1.0, 12.0, 55.0])
    info = mne.channels.read_meg_canonical_info(system, verbose="error")
    info["dev_head_t"] = mne.transforms.Transform("meg", "head", np.eye(4))
    info["dev_head_t"]["trans"][:3, 3] = translation / 1e3
    sensors, (wanted, ch_names) = Sensors.canonical(system, translation), mne_lead_field(info)
    assert list(sensors.ch_names) == ch_names
    assert relative(sphere_lead_field(POSITIONS, sensors, ORIGIN), wanted) < 1e-12


def test_canonical_states_the_head_position(x64):
    assert repr(Sensors.canonical()) == "Sensors(102 mag, 204 grad)"
    for system, place in {"neuromag": (0, 0, 50), "ctf275": (0, 16, 60)}.items():
        shift = Sensors.canonical(system).positions - Sensors.canonical(system, (0, 0, 0)).positions
        np.testing.assert_allclose(shift, np.broadcast_to(place, shift.shape), atol=1e-10)


def test_positions_are_where_mne_has_the_coils(x64):
    info = info_of([3024, 3012, 8101])
    places = mne.transforms.apply_trans(info["dev_head_t"], np.array([ch["loc"][:3] for ch in info["chs"]])) * 1e3
    np.testing.assert_allclose(Sensors.from_info(info).positions, places, atol=0.31)  # the chip is .3 mm thick


def compensated_info():
    """Two CTF channels at grade 1, which subtracts two reference coils of other kinds."""
    info = info_of([5001, 5001, 5002, 5003])
    for reference in info["chs"][2:]:
        reference["kind"] = FIFF.FIFFV_REF_MEG_CH
    matrix = np.array([[0.3, -0.2], [0.5, 0.1]])
    names = info.ch_names
    data = dict(data=matrix, nrow=2, ncol=2, row_names=names[:2], col_names=names[2:])
    with info._unlock():
        info["comps"] = [
            dict(ctfkind=1, kind=1, save_calibrated=True, rowcals=np.ones(2), colcals=np.ones(2), data=data)
        ]
    for channel in info["chs"][:2]:
        channel["coil_type"] = 5001 | (1 << 16)
    return info, matrix


def test_compensation_equals_mne(x64):
    info, matrix = compensated_info()
    sensors, (wanted, ch_names) = Sensors.from_info(info), mne_lead_field(info)
    assert list(sensors.ch_names) == ch_names == ["MEG 0", "MEG 1"]
    np.testing.assert_array_equal(sensors.compensation, matrix)
    got = sphere_lead_field(POSITIONS, sensors, ORIGIN)
    assert relative(got, wanted) < 1e-12
    second = sphere_lead_field(POSITIONS, sensors.pick(["MEG 1"]), ORIGIN)
    np.testing.assert_allclose(second[0], got[1], rtol=1e-12)


def test_references_without_compensation_are_left_out():
    info, _ = compensated_info()
    for channel in info["chs"][:2]:
        channel["coil_type"] = 5001
    sensors = Sensors.from_info(info)
    assert sensors.ch_names == ("MEG 0", "MEG 1")
    assert sensors.compensation is None and len(sensors.points) == 2


def test_unknown_compensation_is_an_error():
    info, _ = compensated_info()
    with info._unlock():
        info["comps"] = []
    with pytest.raises(ValueError, match="compensated at grade 1, but info"):
        Sensors.from_info(info)


def test_noise_has_the_stated_density(x64):
    sensors = Sensors.canonical().pick(["MEG 0111", "MEG 0112"])
    np.testing.assert_array_equal(sensors.noise_density, [3.0, 3.0])
    sfreq, segment, segments = 500.0, 250, 2000
    noise = sensors.noise(jax.random.key(0), segment * segments, sfreq)
    assert noise.shape == (segment * segments, 2)
    frequency, density = welch(noise, sfreq, "boxcar", segment, 0, axis=0, detrend=False)
    inside = (frequency > 0) & (frequency < sfreq / 2)
    # each bin is a mean of `segments` exponential variables, s.e. 1/sqrt(segments); five of them
    np.testing.assert_allclose(density[inside], 9.0, rtol=5 / np.sqrt(segments))
    np.testing.assert_allclose(np.mean(density[inside]), 9.0, rtol=5 / np.sqrt(2 * segments * inside.sum()))


def test_noise_covariance_is_that_of_the_noise(x64):
    sensors = Sensors.from_info(info_of([5001, 5001, 5001]))
    covariance = sensors.noise_covariance(600.0)
    np.testing.assert_allclose(covariance, np.diag([25.0 * 300.0] * 3))
    noise = np.asarray(sensors.noise(jax.random.key(1), 40_000, 600.0))
    np.testing.assert_allclose(np.cov(noise.T), covariance, atol=5 * 7500 * np.sqrt(2 / 40_000))


def test_noise_follows_the_key():
    sensors = Sensors.canonical("ctf151")
    a, b, c = (sensors.noise(jax.random.key(seed), 5, 100.0) for seed in (0, 0, 1))
    assert jnp.array_equal(a, b) and not jnp.array_equal(a, c)
    with pytest.raises(ValueError, match="sfreq = 0.0 Hz"):
        sensors.noise(jax.random.key(0), 5, 0.0)


@pytest.mark.parametrize(
    ("coil_type", "density"), [(3012, 3.0), (3024, 3.0), (2, 3.0), (5001, 5.0), (6001, 5.0), (8101, 10.0)]
)
def test_noise_of_each_kind_of_sensor(coil_type, density):
    assert Sensors.from_info(info_of([coil_type])).noise_density.tolist() == [density]


def test_pick_keeps_the_order_asked_for():
    sensors = Sensors.canonical()
    some = sensors.pick(["MEG 2443", "MEG 0111"])
    assert some.ch_names == ("MEG 2443", "MEG 0111") and some.ch_types == ("grad", "mag")
    full, part = (np.asarray(sphere_lead_field(POSITIONS, s, ORIGIN)) for s in (sensors, some))
    np.testing.assert_allclose(
        part, full[[sensors.ch_names.index(name) for name in some.ch_names]], rtol=1e-4, atol=1e-5
    )
    with pytest.raises(ValueError, match="2 of 3 channels are not among the 306 of the sensors: EEG 001, STI"):
        sensors.pick(["EEG 001", "MEG 0111", "STI"])


def test_layout_agrees_with_mne():
    info = mne.channels.read_meg_canonical_info("neuromag", verbose="error")
    layout = mne.channels.find_layout(info)
    index = [layout.names.index(name) for name in info.ch_names]
    ours, theirs = Sensors.canonical().layout(), layout.pos[index, :2]
    for axis in (0, 1):
        assert np.corrcoef(ours[:, axis], theirs[:, axis])[0, 1] > 0.97
    vertex, front = ours[info.ch_names.index("MEG 0711")], ours[info.ch_names.index("MEG 0121")]
    assert np.linalg.norm(vertex) < 0.4 and front[0] < 0  # MEG 012x lie left


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda info: mne.create_info(3, 100.0, "eeg"), "no MEG channels, only eeg"),
        (lambda info: [info], "wanted an mne.Info"),
        (lambda info: info["chs"][0].update(coil_type=12345) or info, "coil type 12345, which MNE does not define"),
        (lambda info: info["chs"][0].update(loc=np.zeros(12)) or info, "MEG 0 has no coil position"),
        (lambda info: info.__setitem__("dev_head_t", None) or info, "no head position"),
    ],
)
def test_what_is_no_helmet_is_an_error(spoil, message):
    with pytest.raises(ValueError, match=message):
        Sensors.from_info(spoil(info_of([3024, 3012])))


def test_unknown_system_lists_the_known():
    with pytest.raises(ValueError, match="unknown MEG system 'opm'; known: neuromag, ctf151, ctf275"):
        Sensors.canonical("opm")


def test_missing_mne_names_the_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "mne", None)
    with pytest.raises(ImportError, match=r'pip install "jnm\[mne\]"'):
        Sensors.canonical()


@pytest.mark.parametrize(
    ("normals", "noise", "message"), [([[0.0, 0.0, 3.0]], 10.0, "unit vectors"), ([[0.0, 0.0, 1.0]], -1.0, "positive")]
)
def test_point_magnetometers_without_a_meaning(normals, noise, message):
    with pytest.raises(ValueError, match=message):
        Sensors.point([[0.0, 0.0, 100.0]], normals, noise_density=noise)
