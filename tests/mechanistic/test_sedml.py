"""SED-ML and COMBINE archives: the numbers of an archive that tellurium makes and runs itself, and what is refused."""

from __future__ import annotations

import csv
import math
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mechanistic.errors import IntegrationError, ModelError
from mechanistic.sedml import read_experiments, run

# Every task of tellurium's has a model of its own: there, what a repeated task sets stays set for later tasks of
# the same model. And no species is set without a reset: there, that sets all others back as well.
INLINE = """
model m
  compartment c = 2;
  species S1 in c, S2 in c;
  S1 = 10; S2 = 0; k = 0.3; b = 0.1;
  R1: S1 -> S2; c * k * S1;
  R2: S2 -> S1; c * b * S2;
end

m1 = model "m.xml"
m2 = model "m.xml" with k = 0.6, S1 = 4
m3 = model "m.xml"
m4 = model "m.xml"
m5 = model "m.xml"
m6 = model "m.xml"
whole = simulate uniform(0, 10, 20)
late = simulate uniform(0, 2, 10, 8)
rest = simulate steadystate
one = simulate onestep(0.5)
t1 = run whole on m1
t2 = run late on m2
t3 = run rest on m3
t4 = run whole on m4
t5 = run whole on m5
t6 = run one on m6
r4 = repeat t4 for k in uniform(0.1, 1, 3), reset=true
r5 = repeat t5 for b in [0.1, 0.5], reset=false
r6 = repeat t6 for local.i in uniform(1, 3, 2), reset=false
report t1.time, t1.S1, t1.S1 / (t1.S1 + t1.S2), t1.S1 * t1.S2
report t2.time, t2.S1, t2.S2
report t3.S1, t3.S2
report r4.time, r4.S1
report r5.time, r5.S1, r5.S2
report r6.time, r6.S1
"""

MODEL = """<?xml version="1.0" encoding="UTF-8"?>
<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1"><model id="m">
<listOfCompartments><compartment id="c" size="1" constant="true"/></listOfCompartments>
<listOfSpecies>
<species id="A" compartment="c" initialConcentration="8" hasOnlySubstanceUnits="false"
 boundaryCondition="false" constant="false"/>
</listOfSpecies>
<listOfParameters><parameter id="total" constant="false"/></listOfParameters>
<listOfRules><assignmentRule variable="total">
<math xmlns="http://www.w3.org/1998/Math/MathML"><ci>A</ci></math></assignmentRule></listOfRules>
<listOfReactions><reaction id="R" reversible="false" fast="false">
<listOfReactants><speciesReference species="A" stoichiometry="1" constant="true"/></listOfReactants>
<kineticLaw><math xmlns="http://www.w3.org/1998/Math/MathML"><apply><times/><ci>c</ci><ci>q</ci><ci>A</ci></apply></math>
<listOfLocalParameters><localParameter id="q" value="1"/></listOfLocalParameters></kineticLaw>
</reaction></listOfReactions>
</model></sbml>
"""
TARGET = "/sbml:sbml/sbml:model/sbml:listOfSpecies/sbml:species[@id='A']"
SEDML = f"""<?xml version="1.0" encoding="UTF-8"?>
<sedML xmlns="http://sed-ml.org/sed-ml/level1/version3" xmlns:sbml="http://www.sbml.org/sbml/level3/version1/core" level="1" version="3">
<listOfModels>
<model id="plain" language="urn:sedml:language:sbml" source="decay.xml"/>
<model id="twice" language="urn:sedml:language:sbml" source="#plain"><listOfChanges>
<changeAttribute target="{TARGET}/@initialConcentration" newValue="16"/>
<changeAttribute target="//sbml:reaction[@id='R']/sbml:kineticLaw/sbml:listOfLocalParameters/sbml:localParameter[@id='q']/@value" newValue="2"/>
</listOfChanges></model>
<model id="computed" language="urn:sedml:language:sbml" source="decay.xml"><listOfChanges>
<computeChange target="{TARGET}"><listOfVariables><variable id="a" target="{TARGET}" modelReference="twice"/></listOfVariables>
<listOfParameters><parameter id="p" value="3"/></listOfParameters>
<math xmlns="http://www.w3.org/1998/Math/MathML"><apply><plus/><ci>a</ci><ci>p</ci></apply></math></computeChange>
</listOfChanges></model>
</listOfModels>
<listOfSimulations>
<uniformTimeCourse id="s" initialTime="0" outputStartTime="0" outputEndTime="1" numberOfPoints="2">
<algorithm kisaoID="KISAO:0000019"><listOfAlgorithmParameters>
<algorithmParameter kisaoID="KISAO:0000209" value="1e-9"/><algorithmParameter kisaoID="KISAO:0000415" value="500"/>
</listOfAlgorithmParameters></algorithm></uniformTimeCourse>
</listOfSimulations>
<listOfTasks>
<task id="t1" modelReference="twice" simulationReference="s"/>
<task id="t2" modelReference="computed" simulationReference="s"/>
<repeatedTask id="r" range="i" resetModel="true"><listOfRanges><vectorRange id="i"><value>1</value><value>3</value></vectorRange>
<functionalRange id="f" range="i"><math xmlns="http://www.w3.org/1998/Math/MathML"><apply><times/><ci>i</ci><ci>i</ci></apply></math></functionalRange></listOfRanges>
<listOfChanges><setValue target="{TARGET}" modelReference="twice"><math xmlns="http://www.w3.org/1998/Math/MathML"><ci>f</ci></math></setValue></listOfChanges>
<listOfSubTasks><subTask order="1" task="t1"/></listOfSubTasks></repeatedTask>
</listOfTasks>
<listOfDataGenerators>
<dataGenerator id="time"><listOfVariables><variable id="t" symbol="urn:sedml:symbol:time" taskReference="t1"/></listOfVariables>
<math xmlns="http://www.w3.org/1998/Math/MathML"><ci>t</ci></math></dataGenerator>
<dataGenerator id="first"><listOfVariables><variable id="a" target="{TARGET}" taskReference="t1"/></listOfVariables>
<math xmlns="http://www.w3.org/1998/Math/MathML"><ci>a</ci></math></dataGenerator>
<dataGenerator id="second"><listOfVariables><variable id="a" target="{TARGET}" taskReference="t2"/></listOfVariables>
<math xmlns="http://www.w3.org/1998/Math/MathML"><ci>a</ci></math></dataGenerator>
<dataGenerator id="repeated"><listOfVariables><variable id="a" target="{TARGET}" taskReference="r"/></listOfVariables>
<math xmlns="http://www.w3.org/1998/Math/MathML"><ci>a</ci></math></dataGenerator>
</listOfDataGenerators>
<listOfOutputs><report id="table"><listOfDataSets>
<dataSet id="d1" label="time" dataReference="time"/><dataSet id="d2" label="A" dataReference="first"/>
<dataSet id="d3" label="A" dataReference="second"/><dataSet id="d4" label="again" dataReference="repeated"/>
</listOfDataSets></report>
<plot2D id="picture"><listOfCurves><curve id="c1" logX="false" logY="true" xDataReference="time" yDataReference="first"/></listOfCurves></plot2D>
</listOfOutputs>
</sedML>
"""  # noqa: E501


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "decay.xml").write_text(MODEL)
    (tmp_path / "study.sedml").write_text(SEDML)
    return tmp_path


def problems_of(file: Path) -> list:
    with pytest.raises(ModelError) as caught:
        for experiment in read_experiments(file):
            run(experiment)
    return caught.value.problems


def changed(folder: Path, old: str, new: str) -> Path:
    assert old in SEDML
    file = folder / "study.sedml"
    file.write_text(SEDML.replace(old, new, 1))
    return file


def test_an_archive_gives_what_tellurium_gives(tmp_path):
    tellurium = pytest.importorskip("tellurium")
    from tellurium.sedml.tesedml import executeCombineArchive

    archive, theirs = tmp_path / "study.omex", tmp_path / "theirs"
    theirs.mkdir()
    tellurium.exportInlineOmex(INLINE, str(archive))
    executeCombineArchive(str(archive), saveOutputs=True, outputDir=str(theirs))
    (experiment,) = read_experiments(archive)
    results = run(experiment)
    assert len(results.tables) == 6
    for table in results.tables:
        rows = list(csv.reader((theirs / f"main_{table.id}.csv").read_text().splitlines()))
        assert [label for label, _ in table.columns] == rows[0]
        expected = np.array(rows[1:], dtype=float).T
        for (label, column), values in zip(table.columns, expected):
            # what CVODE leaves at its own tolerance of 1e-6
            np.testing.assert_allclose(column.values, values, rtol=1e-4, atol=1e-5, err_msg=label)


def test_changes_ranges_and_computed_values(folder):
    (experiment,) = read_experiments(folder / "study.sedml")
    results = run(experiment)
    (table,) = results.tables
    labels = [label for label, _ in table.columns]
    assert labels == ["time", "A", "A", "again"]
    time, first, second, again = (column for _, column in table.columns)
    t = np.array([0, 0.5, 1])
    assert time.values == pytest.approx(t)
    # A starts at 16 and falls at the rate 2; the other starts at 16 + 3 and falls at 1; then at 1 and at 3 * 3
    assert first.values == pytest.approx(16 * np.exp(-2 * t), rel=1e-6)
    assert second.values == pytest.approx(19 * np.exp(-t), rel=1e-6)
    assert again.values == pytest.approx(np.concatenate([np.exp(-2 * t), 9 * np.exp(-2 * t)]), rel=1e-6)
    assert again.index["r"].tolist() == [0, 0, 0, 1, 1, 1]
    assert results.pictures[0].curves[0][0].log_y
    assert any("KISAO:0000415" in note for note in experiment.notes)


def test_a_run_from_another_time(folder):
    file = changed(folder, 'initialTime="0" outputStartTime="0"', 'initialTime="-1" outputStartTime="0"')
    (experiment,) = read_experiments(file)
    first = run(experiment).tables[0].columns[1][1]
    assert first.values == pytest.approx(16 * np.exp(-2 * np.array([1, 1.5, 2])), rel=1e-6)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('source="decay.xml"', 'source="http://example.org/m.xml"', "nothing is downloaded"),
        ('source="decay.xml"', 'source="urn:miriam:biomodels.db:BIOMD0000000012"', "nothing is downloaded"),
        ('source="decay.xml"', 'source="../decay.xml"', "must lie beside the file"),
        ('source="decay.xml"', 'source="/etc/passwd"', "must lie beside the file"),
        ('source="#plain"', 'source="#twice"', "'twice' is part of itself"),
        ('<subTask order="1" task="t1"/>', '<subTask order="1" task="r"/>', "'r' is part of itself"),
        ("urn:sedml:language:sbml", "urn:sedml:language:cellml", "models in the language"),
        ('level="1" version="3">', 'level="1" version="4">', "the namespace is that of level 1 version 3"),
        ("KISAO:0000019", "KISAO:0000694x", "the algorithm KISAO:0000694x is not supported"),
        ("KISAO:0000415", "KISAO:0000597", "parameter KISAO:0000597 is not supported"),
        ('modelReference="twice" simulationReference', 'modelReference="twise" simulationReference',
         "did you mean 'twice'"),
        ("species[@id='A']\" taskReference=\"t1\"", "species[@id='AA']\" taskReference=\"t1\"",
         "'AA' is not in the model; did you mean 'A'"),
        (f'setValue target="{TARGET}"', "setValue target=\"//sbml:parameter[@id='total']\"",
         "'total' cannot be set"),
        ("species[@id='A']/@initialC", "species[@id='B']/@initialC", "the change points at nothing"),
        (f'target="{TARGET}/@initialConcentration"', 'target="count(//*)/@x"', "this XPath is not supported"),
        ("<ci>t</ci>", "<ci>tt</ci>", "'tt' is used in math but not declared"),
        ('numberOfPoints="2"', 'numberOfPoints="1e12"', "whole number up to"),
        ("<report ", "<plot3D ", ""),
        ('outputEndTime="1"', 'outputEndTime="-1"', "times must rise"),
        ('<vectorRange id="i"><value>1</value><value>3</value></vectorRange>', '<dataRange id="i"/>',
         "the range <dataRange> is not supported"),
        ("<?xml", "<!DOCTYPE x><?xml", ""),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_named(folder, old, new, says):
    found = problems_of(changed(folder, old, new))
    assert any(says in p.message for p in found), found
    if says:
        assert all(p.line for p in found if says in p.message)


def test_results_of_unequal_length_are_not_combined(folder):
    extra = f"""<listOfVariables><variable id="b" target="{TARGET}" taskReference="r"/>"""
    file = changed(folder, '<listOfVariables><variable id="t"', f'{extra}<variable id="t"')
    text = file.read_text().replace("<ci>t</ci>", "<apply><plus/><ci>t</ci><ci>b</ci></apply>", 1)
    file.write_text(text)
    (problem,) = problems_of(file)
    assert "'t' has 3, 'b' has 6" in problem.message or "'b' has 6, 't' has 3" in problem.message


def test_a_failed_task_is_named(folder):
    blows = MODEL.replace("<ci>c</ci><ci>q</ci><ci>A</ci>", "<cn>-1</cn><ci>q</ci><ci>A</ci><ci>A</ci>")
    (folder / "decay.xml").write_text(blows)
    (experiment,) = read_experiments(folder / "study.sedml")
    with pytest.raises(IntegrationError, match="task 't1'"):
        run(experiment)


def archive_of(folder: Path, sedml: str, manifest_model: str = "./models/decay.xml") -> Path:
    file = folder / "study.omex"
    specification = "http://identifiers.org/combine.specifications"
    with zipfile.ZipFile(file, "w") as made:
        made.writestr(
            "manifest.xml",
            f"""<omexManifest xmlns="{specification}/omex-manifest">
            <content location="./sim/a.sedml" format="{specification}/sed-ml.level-1.version-3" master="true"/>
            <content location="{manifest_model}" format="{specification}/sbml"/></omexManifest>""",
        )
        made.writestr("sim/a.sedml", sedml)
        made.writestr("models/decay.xml", MODEL)
    return file


def test_models_of_an_archive_are_found_from_where_the_experiment_lies(tmp_path):
    file = archive_of(tmp_path, SEDML.replace('source="decay.xml"', 'source="../models/decay.xml"'))
    (experiment,) = read_experiments(file)
    assert experiment.file.endswith("study.omex/sim/a.sedml")
    assert run(experiment).tables[0].columns[1][1].values[0] == 16
    assert [f.name for f in tmp_path.iterdir()] == ["study.omex"]


@pytest.mark.parametrize("source", ["decay.xml", "../../decay.xml", "/etc/passwd"])
def test_a_model_that_the_archive_does_not_hold_is_named(tmp_path, source):
    file = archive_of(tmp_path, SEDML.replace('source="decay.xml"', f'source="{source}"'))
    found = problems_of(file)
    assert any("the archive holds no" in p.message and p.line == 4 for p in found)


def test_an_archive_of_one_model_has_no_experiment(tmp_path):
    file = tmp_path / "model.omex"
    specification = "http://identifiers.org/combine.specifications"
    with zipfile.ZipFile(file, "w") as made:
        made.writestr(
            "manifest.xml",
            f"""<omexManifest><content location="m.xml" format="{specification}/sbml"/>
        </omexManifest>""",
        )
        made.writestr("m.xml", MODEL)
    assert read_experiments(file) == []


def test_steady_states_and_single_steps(folder):
    steps = """<oneStep id="s" step="0.5"><algorithm kisaoID="KISAO:0000019"/></oneStep>"""
    start = (
        SEDML.index("<uniformTimeCourse"),
        SEDML.index("</uniformTimeCourse>") + len("</uniformTimeCourse>"),
    )
    (folder / "study.sedml").write_text(SEDML[: start[0]] + steps + SEDML[start[1] :])
    (experiment,) = read_experiments(folder / "study.sedml")
    first = run(experiment).tables[0].columns[1][1]
    assert first.values == pytest.approx([16, 16 * math.exp(-1)], rel=1e-5)
