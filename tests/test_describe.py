"""describe: nothing is left out, values that were changed are marked, and the exports can be read back."""

import csv
import io
import xml.etree.ElementTree as ET

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import jnm
from jnm._describe import describe
from jnm._param import parameters


def network(**fields):
    return jnm.Network(
        jnm.PING(IE=2.0, **fields), jnm.Connectome(np.ones((12, 12)) - np.eye(12)), jnm.Linear(gain=10.0)
    )


def test_every_parameter_is_told_with_its_unit_and_domain():
    model = jnm.JansenRit()
    table = describe(model)
    assert [row.name for row in table.rows] == list(parameters(model))
    for name, known in parameters(model).items():
        row = table[name]
        assert (row.unit, row.meaning, row.domain) == (known.unit, known.doc, str(known.domain))
        assert row.value is getattr(model, name)
    assert table["A"].status == "paper" and table["A"].source == "Jansen & Rit 1995"
    assert table.citations == (jnm.JansenRit.citation,)


def test_values_set_by_the_user_are_marked():
    table = describe(jnm.JansenRit(p=0.2, A=3.25, sigma=0.1))
    assert {row.name for row in table.rows if row.status == "set by you"} == {"p", "sigma"}
    assert table["p"].source == ""


def test_values_of_a_preset_carry_its_sources():
    table = describe(jnm.ING(tau_s=3.0))
    assert table.title == "NMM2 (preset ING)"
    assert table["C"].status == "code of the authors" and "AUTO" in table["C"].source
    assert table["eta"].status == "chosen" and "oscillates" in table["eta"].source
    assert (table["tau_s"].status, table["tau_s"].source) == ("set by you", "")
    assert (table["order"].value, table["order"].domain) == (2, "fixed")


@pytest.mark.parametrize("make", [jnm.MPR, jnm.ING, jnm.Pyramidal, jnm.PING, jnm.PINGSecondOrder, jnm.JansenRit])
def test_an_untouched_preset_has_nothing_of_the_user_and_a_status_everywhere(make):
    for row in describe(make()).rows:
        assert row.status in ("paper", "code of the authors", "literature", "chosen") or row.domain == "fixed"
        assert row.meaning
        assert row.source or row.status in ("", "chosen")


def test_a_circuit_without_preset_is_all_the_users():
    table = describe(jnm.NMM2(tau_m=7.5, tau_s=2.0, delta=1.0, eta=20.0, C=-20.0))
    assert {row.name for row in table.rows if row.status == "set by you"} == {"tau_m", "tau_s", "delta", "eta", "C"}


def test_sub_modules_are_told_by_path():
    table = describe(network())
    assert np.array_equal(table["node.tau_s"].value, [1.0, 5.0])
    assert table["node.I"].status == "set by you" and table["node.eta"].status == "code of the authors"
    assert table["coupling.gain"].value == 10.0 and table["coupling.gain"].meaning == "global coupling strength"
    assert table["speed"].domain == "positive"
    assert "12 x 12: 0 to 1" in str(table)
    assert len([c for c in table.citations if "Montbrio" in c]) == 1
    with pytest.raises(KeyError, match=r"'node.tau' is no field"):
        table["node.tau"]


@pytest.mark.parametrize("coupling", [jnm.Linear, jnm.Diffusive, jnm.Sigmoidal])
def test_every_row_of_a_network_says_what_it_is_and_every_length_its_unit(coupling):
    table = describe(jnm.Network(jnm.PING(), jnm.datasets.connectome(), coupling(), speed=5.0))
    assert [row.name for row in table.rows if not row.meaning] == []
    units = {"speed": "mm/ms", "speed_range": "mm/ms", "connectome.lengths": "mm", "connectome.centres": "mm"}
    assert {name: table[name].unit for name in units} == units


def test_the_domain_is_that_of_the_instance():
    weights = np.ones((2, 2)) - np.eye(2)
    brain = jnm.Connectome(weights, lengths=10 * weights)
    net = jnm.Network(jnm.ING(), brain, speed=5.0, speed_range=(2.0, 8.0))
    assert describe(net)["speed"].domain == "(2, 8)"


def test_other_fields_may_name_unit_and_meaning():
    class Map(eqx.Module):
        lengths: jnp.ndarray = eqx.field(metadata={"unit": "mm", "doc": "tract lengths"})
        plan: int = eqx.field(static=True, repr=False, default=3)

    (row,) = describe(Map(jnp.ones((20, 20)))).rows  # what is hidden from repr is a working, no physiology
    assert (row.name, row.unit, row.meaning, row.domain) == ("lengths", "mm", "tract lengths", "")


def test_tuples_of_modules_are_told_by_index():
    class Pair(eqx.Module):
        members: tuple

    table = describe(Pair((jnm.ING(), jnm.JansenRit(p=0.3))))
    assert table["members[1].p"].status == "set by you"
    assert len(table.citations) == 4  # three papers behind the one, one behind the other


def test_text_is_aligned_and_numbers_its_sources():
    lines = str(describe(jnm.PING())).splitlines()
    column = lines[1].index("value")
    assert lines[0] == "NMM2 (preset PING)"
    assert [line[column:].split("  ")[0] for line in lines[2:7]] == [
        "[8, 8]",
        "[1, 5]",
        "[1, 1]",
        "[-5, -5]",
        "[[5, -13], [13, -5]]",
    ]
    assert "code of the authors [1]" in lines[2]
    assert any(line.startswith("[1] public code of Delicado") for line in lines)


def test_large_and_odd_values_stay_in_their_line():
    class Odd(eqx.Module):
        numbers: jnp.ndarray
        names: tuple[str, ...]
        text: str
        nothing: None
        switch: bool

    table = str(describe(Odd(jnp.arange(100.0), ("V1", "V2", "V3", "V4", "MT"), "x" * 60, None, True)))
    for shown in ("100: 0 to 99", "5: V1, ... MT", "x" * 37 + "...", "none", "True"):
        assert shown in table


def test_csv_reads_back(tmp_path):
    table = describe(jnm.JansenRit(p=1 / 3))
    text = table.to_csv(tmp_path / "parameters.csv")
    assert (tmp_path / "parameters.csv").read_text() == text == table.to_csv()
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [line["name"] for line in lines] == [row.name for row in table.rows]
    assert np.float32(lines[0]["value"]) == np.float32(1 / 3)
    assert (lines[0]["unit"], lines[0]["status"]) == ("1/ms", "set by you")


def test_html_is_well_formed_and_escaped():
    class Sharp(eqx.Module):
        a: jnp.ndarray = jnm.param(1.0, doc="a < b & c")

    root = ET.fromstring(f"<div>{describe(Sharp())._repr_html_()}</div>")
    cells = [[cell.text or "" for cell in line] for line in root.iter("tr")]
    assert cells[1][:2] == ["a", "1"] and "a < b & c" in cells[1]
    assert all(len(line) == 7 for line in cells)


def test_latex_has_one_row_a_field_and_no_bare_specials():
    latex = describe(jnm.PING()).to_latex()
    body = latex.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert len(body) == len(describe(jnm.PING()).rows)
    assert all(line.count(" & ") == 6 and line.endswith(r"\\") for line in body)
    assert body[0].startswith(r"tau\_m & [8, 8] & ms & positive &")
    assert r"Huguet \& Clusella" in latex


def test_only_models_are_described():
    with pytest.raises(TypeError, match="got dict"):
        describe({})
