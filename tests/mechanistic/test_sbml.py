"""The guarded reader: what it accepts, what it refuses, and that each fault is named with id and line."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from pathway_examples import BASE, CHAIN, MATH, changed, with_rules

from mechanistic import sbml
from mechanistic.errors import ModelError
from mechanistic.sbml import read_network


def faults(text) -> list:
    with pytest.raises(ModelError) as caught:
        read_network(text)
    return caught.value.problems


def the_fault(text):
    found = faults(text)
    assert len(found) == 1, found
    return found[0]


def test_a_good_model_becomes_plain_data():
    network = read_network(BASE)
    assert network.species_ids == ("S1", "S2")
    assert network.parameter_ids == ("k", "x")
    assert network["R1"].rate == ["*", "k", "S1"]
    assert network["S1"].concentration == 1.0
    assert network.line_of("S1") == 8
    assert (network.time_unit, network.substance_unit, network.volume_unit) == ("second", "mole", "litre")
    assert network.units("S1") == "mole / litre"


def test_antimony_text_and_file(tmp_path):
    assert read_network(CHAIN).state_ids == ("A", "B")
    file = tmp_path / "chain.ant"
    file.write_text(CHAIN)
    network = read_network(file)
    assert network.file == str(file)
    assert "<sbml" in network.source


def test_local_parameters_are_promoted_and_hide_global_ones():
    law = '<listOfLocalParameters><localParameter id="k" value="7"/></listOfLocalParameters></kineticLaw>'
    network = read_network(changed("</kineticLaw>", law))
    assert network["R1"].rate == ["*", "R1_k", "S1"]
    assert network["R1_k"].value == 7.0


def test_functions_are_inlined():
    function = (
        f'<listOfFunctionDefinitions><functionDefinition id="f">{MATH}<lambda><bvar><ci>a</ci></bvar>'
        "<apply><plus/><ci>a</ci><cn>1</cn></apply></lambda></math></functionDefinition></listOfFunctionDefinitions>"
    )
    text = changed("<listOfCompartments>", function + "<listOfCompartments>")
    text = text.replace(
        "<apply><times/><ci>k</ci><ci>S1</ci></apply>", "<apply><ci>f</ci><ci>S1</ci></apply>"
    )
    assert read_network(text)["R1"].rate == ["+", "S1", 1.0]


def test_all_faults_come_together_in_file_order():
    text = changed('initialConcentration="1"', 'initialConcentration="1,5"').replace(
        'value="1"', 'value="abc"', 1
    )
    found = faults(text)
    assert [(p.key, p.line) for p in found] == [("S1", 8), ("k", 14)]
    assert "decimal point" in found[0].message


@pytest.mark.parametrize(
    ("old", "new", "key", "says"),
    [
        ("<ci>k</ci>", "<ci>kk</ci>", "R1.kk", "did you mean 'k'"),
        ('compartment="c"', 'compartment="nucleus"', "S1.compartment", "not declared"),
        ('size="1"', 'size="-1"', "c", "above 0"),
        ('size="1"', 'size="INF"', "c", "finite"),
        ('initialConcentration="1"', 'initialConcentration="-1"', "S1", "negative"),
        ('<parameter id="k" value="1"', '<parameter id="k"', "k", "without a value"),
        ('<parameter id="k"', '<parameter id="k" units="furlong"', "k.units", "furlong"),
        ('stoichiometry="1"', 'stoichiometry="-1"', "R1", "0 or more"),
        ('id="x"', 'id="S1"', "S1", "already taken"),
        ('id="k"', 'id="k\'+__import__(1)"', "id", "identifier"),
        ("<times/>", "<divide/><cn>2</cn>", "R1", "takes 2 arguments"),
        ("<times/>", "<bessel/>", "R1.bessel", "subset"),
        ('level="3"', 'level="99"', "level", "not known"),
        ('level="3"', 'level="2"', "sbml", "the namespace of level 2"),
        ("level3/version", "level4/version", "sbml", "the namespace of level 3"),
        ('id="m"', 'id="m" conversionFactor="nocf"', "m", "nocf"),
    ],
)
def test_faults_name_what_is_wrong(old, new, key, says):
    problems = faults(changed(old, new))
    assert any(p.key == key and says in p.message for p in problems), problems


def test_the_text_of_an_error_is_bounded():
    text = (
        "model m\n  compartment c = 1;\n" + "".join(f"  species S{i} in c;\n" for i in range(300)) + "end\n"
    )
    with pytest.raises(ModelError, match=r"; and 280 more$") as caught:
        read_network(text)
    assert len(caught.value.problems) == 300


def test_cycles_are_printed():
    fault = the_fault(with_rules("x = <apply><plus/><ci>x</ci><cn>1</cn></apply>"))
    assert "x -> x" in fault.message
    reaction = with_rules("x = <ci>R1</ci>").replace("<ci>k</ci>", "<ci>x</ci>")
    assert "x -> R1 -> x" in the_fault(reaction).message


def test_two_rules_for_one_variable():
    fault = the_fault(with_rules("x = <cn>1</cn>", "x = <cn>2</cn>"))
    assert fault.key == "x"
    assert "two rules" in fault.message


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("<ci>S1</ci>", "takes 2 arguments"),
        ("<ci>S1</ci><cn>-1</cn>", "not be negative"),
        ("<ci>x</ci><cn>1</cn>", "x -> x"),
    ],
)
def test_delays_that_mean_nothing_are_refused(arguments, says):
    url = "http://www.sbml.org/sbml/symbols/delay"
    delay = f'<apply><csymbol encoding="text" definitionURL="{url}">delay</csymbol>{arguments}</apply>'
    fault = the_fault(with_rules(f"x = {delay}"))
    assert fault.key in ("x.delay", "x")
    assert fault.line == 18
    assert says in fault.message


def test_a_chain_of_thousands_of_rules_is_no_recursion():
    parameters = "".join(f'<parameter id="p{i}" constant="false"/>' for i in range(3000))
    rules = [f"p{i} = <ci>p{i + 1}</ci>" for i in range(2999)] + ["p2999 = <cn>1</cn>"]
    text = with_rules(*rules).replace("</listOfParameters>", parameters + "</listOfParameters>")
    assert len(read_network(text).assignment_rules) == 3000


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('<!DOCTYPE a [<!ENTITY b "c">]>' + BASE.partition("?>")[2], "DOCTYPE"),
        ("<html><body><p>404</body></html>", "web page"),
        (BASE[: len(BASE) // 2], "not well-formed"),
        ("<a>" * 5000, "depth"),
        ("<sbml>" + "<species/>" * 6000, "species"),
        ("model m\n S1 -> ; " + "(" * 5000 + "1" + ")" * 5000 + "\nend", "depth"),
        ('import "../../etc/passwd"\nmodel m\nend', "import"),
        (
            BASE.replace("<apply><times/>", "<apply><minus/>" * 390).replace("</apply>", "</apply>" * 390),
            "depth",
        ),
    ],
)
def test_hostile_text_is_refused(text, says):
    assert any(says in p.message or says == p.key for p in faults(text))


def test_bytes_that_are_no_text(tmp_path):
    file = tmp_path / "bad.xml"
    file.write_bytes(BASE.replace('id="m"', 'id="m" name="X"').encode().replace(b'"X"', b'"\xff"'))
    fault = the_fault(file)
    assert fault.key == "UTF-8"
    assert fault.line == 3


def test_what_is_no_file_never_blocks(tmp_path):
    fifo = tmp_path / "pipe.xml"
    os.mkfifo(fifo)
    for path, says in ((fifo, "pipe"), ("/dev/zero", "device"), (tmp_path, "folder"), ("a\0b.xml", "NUL")):
        assert says in faults(path)[0].message
    (tmp_path / "model.xml").write_text(BASE)
    assert "did you mean 'model.xml'?" in faults(tmp_path / "modle.xml")[0].message


def test_a_flood_of_memory_ends_the_child_only(monkeypatch):
    monkeypatch.setattr(sbml, "_MEGABYTES", 60)
    flood = "<listOfConstraints>" + "<a/>" * 300_000 + "</listOfConstraints>"
    fault = the_fault(changed("<!--rules-->", flood))
    assert fault.key == "size"


def test_antimony_that_takes_too_long_is_told_what_would_not(monkeypatch):
    monkeypatch.setattr(sbml, "_CPU_SECONDS", 1)
    chain = "\n".join(f"J{i}: S{i} -> S{i + 1}; k*S{i}; S{i} = 1;" for i in range(8000))
    fault = the_fault(f"model m\nk = 1;\n{chain}\nend")
    assert fault.key == "size" and "that of SBML does not" in fault.message


def test_reading_imports_nothing_heavy():
    code = (
        "import sys; from mechanistic.sbml import read_network; read_network(sys.argv[1]);"
        "heavy = {'numpy', 'libsbml', 'roadrunner', 'antimony', 'torch', 'xarray', 'scipy'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code, BASE], check=True)


LEVEL_1 = """<?xml version="1.0"?>
<sbml xmlns="http://www.sbml.org/sbml/level1" level="1" version="2"><model name="m">
<listOfCompartments><compartment name="c" volume="2"/></listOfCompartments>
<listOfSpecies><species name="A" compartment="c" initialAmount="4" boundaryCondition="false"/></listOfSpecies>
<listOfReactions><reaction name="R" reversible="false">
<listOfReactants><speciesReference species="A"/></listOfReactants>
<kineticLaw formula="k * A^2"><listOfParameters><parameter name="k" value="3"/></listOfParameters></kineticLaw>
</reaction></listOfReactions></model></sbml>
"""


def test_level_1_is_read():
    network = read_network(LEVEL_1)
    assert network["R"].rate == ["*", "R_k", ["^", "A", 2.0]]
    assert network["A"].amount == 4.0


def test_level_1_formulas_are_looked_at_first():
    assert the_fault(LEVEL_1.replace("A^2", "(" * 3000 + "A" + ")" * 3000)).key == "R.depth"
    assert any(p.key == "R" and "unbalanced" in p.message for p in faults(LEVEL_1.replace("A^2", "(A")))


def test_cycles_of_rates_are_found():
    rate = (
        '<apply><csymbol encoding="text" definitionURL="http://www.sbml.org/sbml/symbols/rateOf">rateOf</csymbol>'
        "<ci>{}</ci></apply>"
    )
    rules = "".join(
        f'<rateRule variable="{a}">{MATH}{rate.format(b)}</math></rateRule>'
        for a, b in (("x", "y"), ("y", "x"))
    )
    text = changed("<!--rules-->", f"<listOfRules>{rules}</listOfRules>")
    text = text.replace(
        '<parameter id="x"', '<parameter id="y" value="1" constant="false"/><parameter id="x"'
    )
    fault = the_fault(text)
    assert "rateOf(y) -> rateOf(x) -> rateOf(y)" in fault.message
    assert fault.line == 17


def test_what_a_file_says_is_printed_escaped():
    fault = the_fault(
        changed(
            'compartment="c" initialConcentration="1"', 'compartment="no&#x202e;" initialConcentration="1"'
        )
    )
    assert fault.message.isprintable()
    assert "\\u202e" in fault.message


COMP = "http://www.sbml.org/sbml/level3/version1/comp/version1"


def with_submodels(main: str, definitions: str) -> str:
    """A model `main` of submodels, and the definitions of those."""
    text = changed("<sbml ", f'<sbml xmlns:comp="{COMP}" comp:required="true" ')
    start, end = text.index("<model"), text.index("</sbml>")
    inner = (
        text[start:end]
        .replace("<model", "<comp:modelDefinition")
        .replace("</model", "</comp:modelDefinition")
    )
    definitions = f"<comp:listOfModelDefinitions>{inner}{definitions}</comp:listOfModelDefinitions>"
    return text[:start] + f'<model id="main">{_submodels(main)}</model>' + definitions + text[end:]


def _submodels(names: str) -> str:
    parts = (f'<comp:submodel comp:id="s{i}" comp:modelRef="{n}"/>' for i, n in enumerate(names.split()))
    return f"<comp:listOfSubmodels>{''.join(parts)}</comp:listOfSubmodels>"


def _definition(name: str, parts: str) -> str:
    return f'<comp:modelDefinition id="{name}">{_submodels(parts)}</comp:modelDefinition>'


def test_submodels_are_joined():
    network = read_network(with_submodels("m m", ""))
    assert network.species_ids == ("s0__S1", "s0__S2", "s1__S1", "s1__S2")
    assert network["s1__R1"].rate == ["*", "s1__k", "s1__S1"]


def test_submodels_without_end_are_refused():
    itself = the_fault(with_submodels("loop", _definition("loop", "loop")))
    assert itself.key == "loop"
    assert "loop -> loop" in itself.message
    levels = "".join(_definition(f"d{i}", " ".join([f"d{i + 1}" if i < 8 else "m"] * 10)) for i in range(9))
    assert the_fault(with_submodels("d0", levels)).key == "submodels"
    external = _definition("x", "m") + '<comp:externalModelDefinition comp:id="e" comp:source="/etc/passwd"/>'
    assert the_fault(with_submodels("x", external)).key == "external"


def test_models_beside_the_model_are_joined(tmp_path):
    """Two levels of files, one of them in a folder below."""
    main = tmp_path / "main.xml"
    main.write_text(_with_external("parts/inner.xml", "x"))
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "inner.xml").write_text(with_submodels("m", _definition("x", "m m")))
    network = read_network(main)
    assert network.species_ids == ("s0__s0__S1", "s0__s0__S2", "s0__s1__S1", "s0__s1__S2")
    assert the_fault(main.read_text()).key == "external"
    (tmp_path / "parts" / "inner.xml").write_text(with_submodels("m", _definition("x", "m")))
    assert read_network(main).species_ids == ("s0__s0__S1", "s0__s0__S2")


def test_what_was_read_is_remembered_for_a_while(monkeypatch):
    monkeypatch.setattr(sbml, "_answers", {})
    monkeypatch.setattr(sbml, "_REMEMBERED", 2)
    started, run = [], subprocess.run
    monkeypatch.setattr(sbml.subprocess, "run", lambda *a, **k: (started.append(1), run(*a, **k))[1])
    models = [BASE, changed('id="S1"', 'id="S1" name="a"'), changed('id="S1"', 'id="S1" name="b"')]
    first = read_network(models[0])
    again = read_network(models[0])
    assert len(started) == 1 and again == first and again is not first
    for model in models:
        read_network(model)
    assert len(started) == 3 and len(sbml._answers) == 2
    read_network(models[0])
    assert len(started) == 4


@pytest.mark.parametrize(
    "source",
    ["../outside.xml", "/etc/passwd", "http://127.0.0.1:9/x.xml", "gone.xml", "link.xml", "main.xml", "."],
)
def test_other_models_are_not_followed(tmp_path, source):
    """Out of the folder, over the network, by a link, in a circle, to nothing."""
    (tmp_path / "outside.xml").write_text(BASE)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link.xml").symlink_to(tmp_path / "outside.xml")
    main = folder / "main.xml"
    main.write_text(_with_external(source, ""))
    fault = the_fault(main)
    assert fault.key == "external"


def _with_external(source: str, name: str) -> str:
    reference = f' comp:modelRef="{name}"' if name else ""
    external = f'<comp:externalModelDefinition comp:id="e" comp:source="{source}"{reference}/>'
    return (
        f'<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1" xmlns:comp="{COMP}" '
        f'comp:required="true"><model id="main">{_submodels("e")}</model><comp:listOfExternalModelDefinitions>'
        f"{external}</comp:listOfExternalModelDefinitions></sbml>"
    )


def test_a_size_that_nothing_uses_may_be_missing():
    without = changed('size="1" ', "")
    assert the_fault(without).key == "c"
    amounts = without.replace("initialConcentration", "initialAmount")
    assert the_fault(amounts).key == "c"
    counted = amounts.replace('hasOnlySubstanceUnits="false"', 'hasOnlySubstanceUnits="true"')
    assert read_network(counted)["c"].size is None
    assert the_fault(counted.replace("<ci>k</ci>", "<ci>c</ci>")).key == "c"


@pytest.mark.parametrize("value", ["INF", "-INF", "NaN"])
def test_a_constant_that_nothing_uses_may_be_anything(value):
    unused = changed('<parameter id="x" value="1"', f'<parameter id="x" value="{value}"')
    assert not abs(read_network(unused)["x"].value) < float("inf")
    used = changed('<parameter id="k" value="1"', f'<parameter id="k" value="{value}"')
    fault = the_fault(used)
    assert fault.key == "k"
    assert "finite" in fault.message


def test_negative_stoichiometries_are_read_where_the_level_has_them():
    negative = changed('stoichiometry="1"', 'stoichiometry="-1"').replace(' fast="false"', "")
    assert "0 or more" in faults(negative)[0].message
    newer = negative.replace(
        'level3/version1/core" level="3" version="1"', 'level3/version2/core" level="3" version="2"'
    )
    assert read_network(newer)["R1"].reactants[0].stoichiometry == -1.0


def test_more_than_three_dimensions_are_a_matter_of_the_level():
    assert read_network(changed('spatialDimensions="3"', 'spatialDimensions="7"'))["c"].dimensions == 7
    assert "0..100" in the_fault(changed('spatialDimensions="3"', 'spatialDimensions="1e9"')).message
