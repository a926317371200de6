"""The command line: what it writes, and what it says when it cannot."""

import numpy as np
import pytest

import jnm
from jnm import cli


def test_version(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert end.value.code == 0
    assert jnm.__version__ in capsys.readouterr().out


def test_a_folder_that_cannot_be_written_is_refused_first(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert cli.main(["demo", "--out", str(tmp_path / "file" / "below")]) == 2
    assert "choose another" in capsys.readouterr().err


def test_info(capsys):
    assert cli.main(["info"]) == 0
    told = capsys.readouterr().out
    for word in (f"jnm {jnm.__version__}", "devices", "cpu", "float32", "GB"):
        assert word in told


SWEEP = """\
[model]
name = "ING"
parameters = { sigma = 0.05 }

[sweep]
eta = { from = 5.0, to = 25.0, number = 3 }
seed = [0, 1]

[run]
t1 = 50.0
dt = 0.1
save_every = 1.0
measures = ["mean", "peak_hz"]
"""


def test_a_sweep_from_a_file_goes_on_and_is_verified(tmp_path, capsys):
    config = tmp_path / "drive.toml"
    config.write_text(SWEEP)
    for _ in range(2):
        assert cli.main(["sweep", str(config)]) == 0
        told = capsys.readouterr().out
        assert "eta (3) x seed (2): 6 of 6 members complete" in told and "drive.zarr" in told
    store = tmp_path / "drive.zarr"
    assert cli.main(["verify", str(store)]) == 0
    assert "6 members computed again" in (told := capsys.readouterr().out) and "Every number is the same" in told
    result = jnm.sweeps.open_store(store)
    assert result["mean"].dims == ("eta", "seed") and np.all(result.peak_hz > 10)

    import zarr

    zarr.open_group(store, mode="r+")["mean"][1, 0] = 1.0
    assert cli.main(["verify", str(store)]) == 1
    assert "The numbers are not the same" in capsys.readouterr().out
    assert cli.main(["verify", str(store), "--members", "0"]) == 2
    assert "members = 0" in capsys.readouterr().err
    chunk = next(path for path in (store / "mean" / "c").rglob("*") if path.is_file())
    chunk.write_bytes(b"no chunk")
    assert cli.main(["verify", str(store)]) == 2
    assert "is damaged" in capsys.readouterr().err
    assert cli.main(["verify", str(tmp_path)]) == 2
    assert "no store" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "line", "told"),
    [
        ('"ING"', '"PONG"', 1, "no model 'PONG'"),
        ("sigma", "sgima", 1, "unknown parameter sgima"),
        ("eta =", "ita =", 6, "has not"),
        ('"mean"', '"meen"', 9, "known are mean"),
        ("t1 = 50.0", 't1 = "long"', 10, "wanted a number"),
        ("dt = 0.1\n", "", 9, "[run] needs dt"),
        ("save_every", "save", 12, "[run] has no save"),
        ("[run]", "[runn]", 9, "no section [runn]"),
        ("number = 3", "nmber = 3", 6, "wanted a list, or"),
        ("seed = [0, 1]", "seed = [0.5]", 7, "whole numbers"),
        ("from = 5.0", "from = ", 6, "line 6"),
        ("eta =", "tau_m =", 6, "outside its domain"),
        ('"ING"', '"NMM2State"', 1, "no model 'NMM2State'"),
        ("t1 = 50.0", "t1 = 50.03", 9, "no whole number of steps"),
        ("t1 = 50.0", "t1 = 5.0", 9, "in a record of 5 samples"),
        ("number = 3", "number = -3", 6, "one or more"),
        ("number = 3", "number = 3, scale = 'log'", 6, "above zero"),
    ],
)
def test_a_wrong_file_is_told_with_the_line(tmp_path, capsys, old, new, line, told):
    config = tmp_path / "wrong.toml"
    config.write_text(
        SWEEP.replace(old, new).replace(
            "from = 5.0", "from = -5.0" if told.startswith(("outs", "above")) else "from = 5.0"
        )
    )
    assert cli.main(["sweep", str(config)]) == 2
    error = capsys.readouterr().err
    assert f"line {line}" in error and told in error


def test_a_network_from_a_file(tmp_path, capsys):
    config = tmp_path / "network.toml"
    network = '[network]\nconnectome = "synthetic"\nnormalise = "rows"\ngain = 10.0\n\n[sweep]'
    text = SWEEP.replace('"ING"', '"PING"').replace("[sweep]", network).replace("t1 = 50.0", "t1 = 5.0")
    text = (
        text.replace("eta = {", '"node.I[0]" = {')
        .replace('"mean", "peak_hz"', '"mean"')
        .replace("seed = [0, 1]", '"coupling.gain" = [4.0]')
    )
    config.write_text(text)
    assert cli.main(["sweep", str(config)]) == 0
    assert "I[0] (3) x gain (1)" in capsys.readouterr().out
    assert jnm.sweeps.open_store(tmp_path / "network.zarr")["mean"].dims == ("I[0]", "gain", "region")
