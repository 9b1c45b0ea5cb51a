"""The sweep file is read strictly: every fault with its file, line, key and value."""

import pytest
from scenes import scene

from sim.errors import ScenarioError
from sim.sweeping.form import load_sweep
from sim.validation import validated

GOOD = """sweep: 1
scenario: small.yaml
over:
  dose: {key: "perturbations[0].to", values: [0 uM, 0.5 uM, 2 uM]}
  cells.a.count: [4, 8]
seeds: 2
set: {time.stop: 1 h}
outcomes: {alive: count(a) @ 1 h}
"""


@pytest.fixture
def file(tmp_path):
    text = scene(
        "perturbations: [{at: 6 min, set: field.drug, to: 1 uM, where: everywhere}]",
        "couplings: [{from: field.drug, to: rate.death, linear: {slope: 0.02}, mode: add}]",
        fields="{drug: {diffusion: 1e3 um^2/min}}",
        cells="{a: {count: 6, place: {random: {}}, cycle: {division: 1e-3 /min}}}",
    ).text
    (tmp_path / "small.yaml").write_text(text)
    made = tmp_path / "doses.yaml"

    def write(text=GOOD):
        made.write_text(text)
        return made

    return write


@pytest.mark.parametrize(
    "written",
    [
        lambda text: "\ufeff" + text,
        lambda text: "# why\n" * 2000 + text,
        lambda text: text.replace("\n", "\r"),
        lambda text: text.replace("sweep:", '"sweep":'),
        lambda text: "{" + ", ".join(text.strip().splitlines()).replace("over:, ", "over: {", 1).replace(
            ", seeds", "}, seeds"
        ) + "}",
    ],
)  # fmt: skip
def test_a_sweep_is_known_by_its_key_however_it_is_written(file, written):
    made = file()
    made.write_bytes(written(GOOD).encode())
    assert validated(made) == [f"{made}: 12 runs"]


def test_every_combination_is_a_member(file):
    found = load_sweep(file())
    assert found.shape == (3, 2, 2) and len(found.members()) == 12
    assert [a.name for a in found.axes] == ["dose", "cells.a.count"]
    last = found.members()[-1]
    assert last.values == {"perturbations[0].to": "2 uM", "cells.a.count": "8"} and last.seed == 12
    assert float(found.scenario.time.stop) == 60
    assert validated(file()) == [f"{file()}: 12 runs"]


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("seeds: 2", "sedes: 2", 6, "unknown key 'sedes'; did you mean 'seeds'?"),
        ("sweep: 1", "sweep: 2", 1, "must be 1"),
        ("small.yaml", "smal.yaml", 2, "did you mean 'small.yaml'?"),
        ("small.yaml", "../small.yaml", 2, "outside the scenario folder"),
        ("0.5 uM", "0.5 kelvin", 4, "over.dose.values[1]"),
        ("0.5 uM", "[1]", 4, "each value must be a number or text"),
        ("0.5 uM", "0 uM", 4, "a value stands twice"),
        ("cells.a.count", "cels.a.count", 5, "did you mean 'cells'?"),
        (
            "cells.a.count: [4, 8]",
            "n: {key: cells.a.cnt, values: [4, 8]}",
            5,
            "over.n.key: unknown key 'cnt'; did",
        ),
        ("cells.a.count", "seed", 5, "give the seeds with seeds:"),
        ("[4, 8]", "[4, 0.5]", 5, "cells.a.count"),
        ("[4, 8]", "[]", 5, "must be a list of values"),
        ("seeds: 2", "seeds: 0", 6, "must be a number of seeds"),
        ("time.stop: 1 h", "time.stop: 1 kelvin", 7, "set.time.stop"),
        ("count(a)", "count(b)", 8, "no cell type 'b'"),
        ("alive: count", "time: count", 8, "cannot name an outcome"),
        (
            '{key: "perturbations[0].to", values',
            '{kye: "perturbations[0].to", values',
            4,
            "unknown key 'kye'",
        ),
        ("sweep: 1", "sweep: 1\nsweep: 1", 2, "duplicate key"),
    ],
)
def test_faults_have_their_place(file, old, new, line, words):
    assert old in GOOD
    path = file(GOOD.replace(old, new, 1))
    with pytest.raises(ScenarioError) as caught:
        load_sweep(path)
    (problem,) = caught.value.problems
    assert str(problem).startswith(f"{path}:{line}: ") and words in str(problem)


def test_several_faults_are_told_together(file):
    path = file(
        GOOD.replace("0.5 uM", "0.5 kelvin").replace("[4, 8]", "[4, -8]").replace("count(a)", "count(b)")
    )
    with pytest.raises(ScenarioError) as caught:
        load_sweep(path)
    assert [p.line for p in caught.value.problems] == [4, 5, 8]


def test_a_file_that_is_no_yaml_is_told_by_its_line(file):
    with pytest.raises(ScenarioError, match=r"doses.yaml:3"):
        load_sweep(file("sweep: 1\nscenario: a\nover: {[\n"))


def test_a_shipped_scenario_goes_by_its_name(file):
    by_name, by_file = (
        load_sweep(file(f"sweep: 1\nscenario: {name}\nover: {{cells.pc9.count: [2, 3]}}\n")).scenario.file
        for name in ("quickstart", "quickstart.yaml")
    )
    assert by_name == by_file
