"""`simulate` and `validate` on experiments and on flux-balance models: what is written where, what is refused."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

DECAY = "model decay\n compartment c = 1; species A in c; A = 8; k = 0.5;\n R: A -> ; c * k * A;\nend\n"
TARGET = "/sbml:sbml/sbml:model/sbml:listOfSpecies/sbml:species[@id='A']"
REPORT = """<report id="table"><listOfDataSets><dataSet id="d1" label="time, of the run" dataReference="time"/>
<dataSet id="d2" label="A" dataReference="a"/></listOfDataSets></report>"""
PLOT = """<plot2D id="picture" name="$\\alpha"><listOfCurves>
<curve id="c1" logX="false" logY="false" xDataReference="time" yDataReference="a"/></listOfCurves></plot2D>"""
SEDML = f"""<?xml version="1.0" encoding="UTF-8"?>
<sedML xmlns="http://sed-ml.org/sed-ml/level1/version3" level="1" version="3">
<listOfModels><model id="m" language="urn:sedml:language:antimony" source="decay.ant"/></listOfModels>
<listOfSimulations><uniformTimeCourse id="s" initialTime="0" outputStartTime="0" outputEndTime="2" numberOfPoints="2">
<algorithm kisaoID="KISAO:0000019"/></uniformTimeCourse></listOfSimulations>
<listOfTasks><task id="t" modelReference="m" simulationReference="s"/>
<repeatedTask id="r" range="i" resetModel="true"><listOfRanges>
<vectorRange id="i"><value>1</value><value>2</value></vectorRange></listOfRanges>
<listOfChanges><setValue target="//sbml:parameter[@id='k']" modelReference="m">
<math xmlns="http://www.w3.org/1998/Math/MathML"><ci>i</ci></math></setValue></listOfChanges>
<listOfSubTasks><subTask order="1" task="t"/></listOfSubTasks></repeatedTask></listOfTasks>
<listOfDataGenerators>
<dataGenerator id="time"><listOfVariables>
<variable id="t0" symbol="urn:sedml:symbol:time" taskReference="r"/></listOfVariables>
<math xmlns="http://www.w3.org/1998/Math/MathML"><ci>t0</ci></math></dataGenerator>
<dataGenerator id="a"><listOfVariables><variable id="a0" target="{TARGET}" taskReference="r"/></listOfVariables>
<math xmlns="http://www.w3.org/1998/Math/MathML"><ci>a0</ci></math></dataGenerator></listOfDataGenerators>
<listOfOutputs>{REPORT}{PLOT}</listOfOutputs>
</sedML>
"""

FLUXES = """<?xml version="1.0" encoding="UTF-8"?>
<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1" fbc:required="false"
 xmlns:fbc="http://www.sbml.org/sbml/level3/version1/fbc/version2">
<model id="m" fbc:strict="true">
<listOfCompartments><compartment id="c" constant="true"/></listOfCompartments>
<listOfSpecies>
<species id="A" compartment="c" hasOnlySubstanceUnits="false" boundaryCondition="false" constant="false"/>
</listOfSpecies>
<listOfParameters><parameter id="low" value="0" constant="true"/>
<parameter id="high" value="5" constant="true"/></listOfParameters>
<listOfReactions>
<reaction id="in" reversible="false" fast="false" fbc:lowerFluxBound="low" fbc:upperFluxBound="high">
<listOfProducts><speciesReference species="A" stoichiometry="1" constant="true"/></listOfProducts></reaction>
<reaction id="out" reversible="false" fast="false" fbc:lowerFluxBound="low" fbc:upperFluxBound="high">
<listOfReactants><speciesReference species="A" stoichiometry="2" constant="true"/></listOfReactants></reaction>
</listOfReactions>
<fbc:listOfObjectives fbc:activeObjective="most"><fbc:objective fbc:id="most" fbc:type="maximize">
<fbc:listOfFluxObjectives><fbc:fluxObjective fbc:reaction="out" fbc:coefficient="1"/></fbc:listOfFluxObjectives>
</fbc:objective></fbc:listOfObjectives>
</model></sbml>
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    (tmp_path / "decay.ant").write_text(DECAY)
    file = tmp_path / "study.sedml"
    file.write_text(SEDML)
    return file


@pytest.fixture
def fluxes(tmp_path: Path) -> Path:
    file = tmp_path / "fluxes.xml"
    file.write_text(FLUXES)
    return file


def test_one_report_goes_to_stdout_with_the_iterations(cellweave, study):
    done = cellweave("simulate", study)
    assert done.code == 0, done.err
    rows = list(csv.reader(done.out.splitlines()))
    assert rows[0] == ["r", "time, of the run", "A"]
    table = np.array(rows[1:], dtype=float)
    assert table[:, 0].tolist() == [0, 0, 0, 1, 1, 1]
    k = table[:, 0] + 1
    np.testing.assert_allclose(table[:, 2], 8 * np.exp(-k * table[:, 1]), rtol=1e-5)
    assert "1 plots are not drawn" in done.err


def test_a_folder_gets_reports_and_pictures(cellweave, study, tmp_path):
    done = cellweave("simulate", study, "-o", tmp_path / "results")
    assert done.code == 0, done.err
    assert done.out == ""
    written = {f.name for f in (tmp_path / "results").iterdir()}
    assert written == {"table.csv", "picture.png"}
    assert (tmp_path / "results" / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_what_an_experiment_says_itself_is_no_option(cellweave, study):
    done = cellweave("simulate", study, "--set", "k=1")
    assert done.code == 2
    assert "--set: the experiment says this itself" in done.err


def test_several_reports_need_a_folder(cellweave, study):
    study.write_text(
        SEDML.replace(REPORT, REPORT + REPORT.replace('"table"', '"other"').replace('id="d', 'id="e'))
    )
    done = cellweave("simulate", study)
    assert done.code == 2
    assert "2 reports and 1 plots; name a folder" in done.err


def test_validate_tells_all_faults_of_an_experiment_with_their_lines(cellweave, study):
    study.write_text(
        SEDML.replace("species[@id='A']", "species[@id='B']").replace(
            "parameter[@id='k']", "parameter[@id='kk']"
        )
    )
    done = cellweave("validate", study)
    assert done.code == 2
    lines = done.err.splitlines()
    assert len(lines) == 2
    assert f"{study}:9: r: 'kk' is not in the model; did you mean 'k'?" in lines[0]
    assert f"{study}:16: a: 'B' is not in the model" in lines[1]


def test_a_flux_balance_is_one_row_by_reaction(cellweave, fluxes):
    done = cellweave("simulate", fluxes)
    assert done.code == 0, done.err
    assert done.out == "in,out,most\n5.0,2.5,2.5\n"
    assert "no rate laws" in done.err
    chosen = cellweave("simulate", fluxes, "--method", "fba", "--set", "high=3", "--select", "most")
    assert (chosen.out, chosen.err) == ("most\n1.5\n", "")


def test_a_flux_balance_that_has_no_solution_fails(cellweave, fluxes):
    done = cellweave("simulate", fluxes, "--set", "low=3", "--set", "high=4")
    assert done.code == 3
    assert "no fluxes meet all bounds: 'A' cannot be balanced" in done.err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--select", "inn"], "did you mean 'in'"),
        (["--cells", "3"], "--cells: is for time courses"),
        (["--method", "native", "--end", "1"], "no kinetic law"),
    ],
)
def test_what_a_flux_balance_does_not_take(cellweave, fluxes, options, says):
    done = cellweave("simulate", fluxes, *options)
    assert done.code == 2
    assert says in done.err


def test_a_time_course_needs_an_end(cellweave, study):
    done = cellweave("simulate", study.parent / "decay.ant")
    assert done.code == 2
    assert "--end: is missing" in done.err


def test_validate_accepts_what_simulate_runs(cellweave, study, fluxes):
    done = cellweave("validate", study, fluxes)
    assert (done.code, done.err) == (0, "")


def test_cells_cannot_carry_a_model_without_rate_laws(cellweave, fluxes, tmp_path):
    scenario = tmp_path / "tissue.yaml"
    scenario.write_text("""scenario: 1
name: fluxes
time: {stop: 1 h, save_every: 1 h}
space: {domain: {x: [-50 um, 50 um], y: [-50 um, 50 um]}}
cells: {a: {count: 3, place: {random: {}}, pathways: [p]}}
pathways: {p: {model: fluxes.xml, time_unit: min}}
""")
    done = cellweave("validate", scenario)
    assert done.code == 2
    assert "tissue.yaml:6: pathways.p.model: fluxes.xml:12: in: 'in' has no kinetic law" in done.err
