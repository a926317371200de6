"""The main job: data made one way, parameters recovered another way."""

import numpy as np
import pytest

import jnm
from jnm.studies import recovery


def brain():
    return jnm.datasets.connectome().normalised("rows")


def test_a_short_fit_writes_its_figure_and_table(tmp_path):
    few = jnm.datasets.connectome(n_regions=12).normalised("rows")
    result = recovery.recover(few, seed=0, steps=2, seconds=2.0, window=0.8, polish_keys=2, progress=False)
    assert [e.start for e in result.estimates] == pytest.approx(recovery.START, rel=1e-6)
    assert len(result.fit.losses) == 2
    figure, table = result.save(tmp_path)
    assert figure.stat().st_size > 10_000
    xarray = pytest.importorskip("xarray")
    with xarray.open_dataset(table, engine="h5netcdf") as saved:
        np.testing.assert_allclose(saved.estimate.sel(what="truth"), recovery.TRUTH)
        assert saved.psd.dims == ("kind", "frequency", "channel")
    for name in recovery.NAMES:
        assert name in str(result)


def test_a_connectome_without_places_is_refused():
    with pytest.raises(ValueError, match="no centres"):
        recovery.recover(jnm.Connectome(np.eye(3)[::-1]))


def test_all_starts_are_off_by_half_at_least():
    ratio = np.array(recovery.START) / np.array(recovery.TRUTH)
    assert np.all(np.maximum(ratio, 1 / ratio) >= 1.5)


@pytest.mark.slow
def test_twenty_subjects():
    results = [recovery.recover(brain(), seed, progress=False) for seed in range(20)]
    errors = np.array([max(e.error for e in result.estimates) for result in results])
    print("\n".join(f"seed {seed}\n{results[seed]}" for seed in np.flatnonzero(errors > 0.1)))
    assert np.sum(errors <= 0.1) >= 18, errors
