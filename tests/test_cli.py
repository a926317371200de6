"""The command line: what it writes, and what it says when it cannot."""

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
