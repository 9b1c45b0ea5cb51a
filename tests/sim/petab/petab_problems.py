"""Small problems in PEtab 1 and 2, written to a folder."""

from pathlib import Path

MODEL = """<?xml version="1.0" encoding="UTF-8"?>
<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1">
  <model id="decay">
    <listOfCompartments><compartment id="c" spatialDimensions="3" size="2" constant="true"/></listOfCompartments>
    <listOfSpecies>
      <species id="A" compartment="c" initialConcentration="1" hasOnlySubstanceUnits="false"
        boundaryCondition="false" constant="false"/>
    </listOfSpecies>
    <listOfParameters>
      <parameter id="k" value="0.5" constant="true"/>
      <parameter id="feed" value="0" constant="false"/>
    </listOfParameters>
    <listOfReactions>
      <reaction id="loss" reversible="false" fast="false">
        <listOfReactants><speciesReference species="A" stoichiometry="1" constant="true"/></listOfReactants>
        <kineticLaw><math xmlns="http://www.w3.org/1998/Math/MathML">
          <apply><times/><ci>c</ci><ci>k</ci><ci>A</ci></apply></math></kineticLaw>
      </reaction>
      <reaction id="gain" reversible="false" fast="false">
        <listOfProducts><speciesReference species="A" stoichiometry="1" constant="true"/></listOfProducts>
        <kineticLaw><math xmlns="http://www.w3.org/1998/Math/MathML">
          <apply><times/><ci>c</ci><ci>feed</ci></apply></math></kineticLaw>
      </reaction>
    </listOfReactions>
  </model>
</sbml>
"""


def table(*rows: str) -> str:
    """Fields between blanks as a table; "_" is an empty field."""
    return "\n".join("\t".join("" if f == "_" else f for f in row.split()) for row in rows) + "\n"


VERSION_1 = {
    "problem.yaml": """format_version: 1
parameter_file: parameters.tsv
problems:
- condition_files: [conditions.tsv]
  measurement_files: [measurements.tsv]
  observable_files: [observables.tsv]
  sbml_files: [model.xml]
""",
    "parameters.tsv": table(
        "parameterId parameterScale lowerBound upperBound nominalValue estimate",
        "k log10 1e-3 10 0.8 1",
        "a0 lin 0 10 3 1",
        "scale lin 0 10 2 1",
        "sd log 0.01 10 0.3 1",
    ),
    "conditions.tsv": table("conditionId feed A", "rest 0.4 _", "pulse 0 a0", "open 0.1 _"),
    "observables.tsv": table(
        "observableId observableFormula observableTransformation noiseFormula noiseDistribution",
        "direct observableParameter1_direct*A lin noiseParameter1_direct normal",
        "logged A+0.1 log10 0.2 normal",
        "rough A+direct_free lin sd+0.1*A laplace",
        "direct_free 2*A lin 1 normal",
    ),
    "measurements.tsv": table(
        "observableId preequilibrationConditionId simulationConditionId time measurement "
        "observableParameters noiseParameters",
        "direct _ pulse 0 5.5 scale sd",
        "direct _ pulse 1 2.5 scale sd",
        "direct _ pulse 1 2.9 1.5 0.4",
        "logged rest open 0 0.7 _ _",
        "logged rest open 2 0.3 _ _",
        "rough rest open 3 0.2 _ _",
        "logged rest open inf 0.25 _ _",
    ),
    "model.xml": MODEL,
}

VERSION_2 = {
    "problem.yaml": """format_version: 2.0.0
parameter_files: [parameters.tsv]
condition_files: [conditions.tsv]
experiment_files: [experiments.tsv]
measurement_files: [measurements.tsv]
observable_files: [observables.tsv]
model_files: {decay: {language: sbml, location: model.xml}}
""",
    "parameters.tsv": table(
        "parameterId lowerBound upperBound nominalValue estimate priorDistribution priorParameters",
        "k 1e-3 10 0.8 true log-normal 0;1",
        "a0 0 10 3 true _ _",
        "sd 0.01 10 0.3 true _ _",
        "fixed _ _ 2 false _ _",
    ),
    "conditions.tsv": table(
        "conditionId targetId targetValue",
        "start A a0*fixed",
        "dose A A+1/fixed",
        "dose feed 0.2",
        "fed feed 0.2",
        "wide c 4",
    ),
    "experiments.tsv": table(
        "experimentId time conditionId", "e -1 start", "e 1.5 dose", "e 2 wide", "f -inf fed", "f 0 _"
    ),
    "observables.tsv": table(
        "observableId observableFormula noiseFormula noiseDistribution observablePlaceholders noisePlaceholders",
        "x s*A sd normal s _",
        "y A*exp(-0.1*time) w log-normal _ w",
    ),
    "measurements.tsv": table(
        "observableId experimentId time measurement observableParameters noiseParameters",
        "x e -1 5.5 1 _",
        "x e 1.5 1.5 1 _",
        "x e 2.5 1.2 fixed _",
        "y e 3 0.8 _ sd",
        "y f 0 0.25 _ 0.3",
        "x f inf 0.3 1 _",
    ),
    "model.xml": MODEL,
}


def write(folder: Path, files: dict[str, str], **changed: str) -> Path:
    """The YAML file of a problem; `changed` by the stem of a file."""
    for name, text in files.items():
        (folder / name).write_text(changed.get(name.split(".")[0], text))
    return folder / "problem.yaml"
