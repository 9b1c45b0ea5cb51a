"""Flux balance: the optimum, its prices, and what has none. Every expected number is worked out by hand."""

from __future__ import annotations

import re

import numpy as np
import pytest

from mechanistic import load_model
from mechanistic.errors import FluxBalanceError, ModelError

# A enters at most at 10, makes B one to one or two A make three C; both leave. Maximise B + 2 C.
PLANT = """<?xml version="1.0" encoding="UTF-8"?>
<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1" fbc:required="false"
 xmlns:fbc="http://www.sbml.org/sbml/level3/version1/fbc/version3">
<model id="plant" fbc:strict="true" substanceUnits="mole" extentUnits="mole" timeUnits="second">
<listOfCompartments><compartment id="c" constant="true"/></listOfCompartments>
<listOfSpecies>
<species id="A" compartment="c" hasOnlySubstanceUnits="false" boundaryCondition="false" constant="false"/>
<species id="B" compartment="c" hasOnlySubstanceUnits="false" boundaryCondition="false" constant="false"/>
<species id="C" compartment="c" hasOnlySubstanceUnits="false" boundaryCondition="false" constant="false"/>
</listOfSpecies>
<listOfParameters>
<parameter id="none" value="0" constant="true"/>
<parameter id="most" value="10" constant="true"/>
<parameter id="open" value="INF" constant="true"/>
<parameter id="one" value="1" constant="true"/>
<parameter id="share" value="6" constant="true"/>
<!--parameters-->
</listOfParameters>
<listOfReactions>
<reaction id="take" reversible="false" fast="false" fbc:lowerFluxBound="none" fbc:upperFluxBound="most">
<listOfProducts><speciesReference species="A" stoichiometry="1" constant="true"/></listOfProducts>
</reaction>
<reaction id="make_b" reversible="false" fast="false" fbc:lowerFluxBound="none" fbc:upperFluxBound="open">
<listOfReactants><speciesReference species="A" stoichiometry="1" constant="true"/></listOfReactants>
<listOfProducts><speciesReference species="B" stoichiometry="1" constant="true"/></listOfProducts>
<fbc:geneProductAssociation><fbc:or><fbc:geneProductRef fbc:geneProduct="g1"/>
<fbc:geneProductRef fbc:geneProduct="g2"/></fbc:or></fbc:geneProductAssociation>
</reaction>
<reaction id="make_c" reversible="false" fast="false" fbc:lowerFluxBound="none" fbc:upperFluxBound="open">
<listOfReactants><speciesReference species="A" stoichiometry="2" constant="true"/></listOfReactants>
<listOfProducts><speciesReference species="C" stoichiometry="3" constant="true"/></listOfProducts>
</reaction>
<reaction id="give_b" reversible="false" fast="false" fbc:lowerFluxBound="none" fbc:upperFluxBound="open">
<listOfReactants><speciesReference species="B" stoichiometry="1" constant="true"/></listOfReactants>
</reaction>
<reaction id="give_c" reversible="false" fast="false" fbc:lowerFluxBound="none" fbc:upperFluxBound="open">
<listOfReactants><speciesReference species="C" stoichiometry="1" constant="true"/></listOfReactants>
</reaction>
</listOfReactions>
<fbc:listOfObjectives fbc:activeObjective="profit">
<fbc:objective fbc:id="profit" fbc:type="maximize"><fbc:listOfFluxObjectives>
<fbc:fluxObjective fbc:reaction="give_b" fbc:coefficient="1" fbc:variableType="linear"/>
<fbc:fluxObjective fbc:reaction="give_c" fbc:coefficient="2" fbc:variableType="linear"/>
</fbc:listOfFluxObjectives></fbc:objective>
<fbc:objective fbc:id="intake" fbc:type="minimize"><fbc:listOfFluxObjectives>
<fbc:fluxObjective fbc:reaction="take" fbc:coefficient="1" fbc:variableType="linear"/>
</fbc:listOfFluxObjectives></fbc:objective>
</fbc:listOfObjectives>
<fbc:listOfGeneProducts><fbc:geneProduct fbc:id="g1" fbc:label="b0001"/>
<fbc:geneProduct fbc:id="g2" fbc:label="b0002"/></fbc:listOfGeneProducts>
<!--constraints-->
</model>
</sbml>
"""
CONSTRAINT = """<fbc:listOfUserDefinedConstraints>
<fbc:userDefinedConstraint fbc:id="balanced_sale" fbc:lowerBound="none" fbc:upperBound="share">
<fbc:listOfUserDefinedConstraintComponents>
<fbc:userDefinedConstraintComponent fbc:coefficient="one" fbc:variable="give_c" fbc:variableType="linear"/>
</fbc:listOfUserDefinedConstraintComponents></fbc:userDefinedConstraint></fbc:listOfUserDefinedConstraints>"""


def fluxes(found, cell: int = 0) -> dict[str, float]:
    return dict(zip(found["reaction"].values.tolist(), found["flux"].values[cell].tolist()))


def test_the_optimum_with_its_prices():
    found = load_model(PLANT).flux_balance()
    # 1 A as C gives 3/2 * 2 = 3, as B gives 1
    assert fluxes(found) == pytest.approx({"take": 10, "make_b": 0, "make_c": 5, "give_b": 0, "give_c": 15})
    assert found["objective_value"].item() == pytest.approx(30)
    # one more A allowed in is worth 3; B made in the place of C costs 2
    assert found["reduced_cost"].sel(reaction="take").item() == pytest.approx(3)
    assert found["reduced_cost"].sel(reaction="make_b").item() == pytest.approx(-2)
    # a unit of A that must stay costs 3, of C 2
    prices = found["shadow_price"].sel(species=["A", "C"], cell=0).values
    assert prices == pytest.approx([-3, -2])
    assert found["flux"].attrs["units"] == "mole / second"


def test_prices_are_what_a_changed_bound_gives():
    model = load_model(PLANT)
    more = model.flux_balance(parameters={"most": 10.5})["objective_value"].item()
    base = model.flux_balance()
    assert (more - base["objective_value"].item()) / 0.5 == pytest.approx(
        base["reduced_cost"].sel(reaction="take").item()
    )


def test_another_objective_cells_and_knocked_out_reactions():
    model = load_model(PLANT)
    assert model.flux_balance("intake")["objective_value"].item() == 0
    found = model.flux_balance(parameters={"most": np.array([1.0, 4.0])}, cells=2)
    assert found["objective_value"].values == pytest.approx([3, 12])
    without = model.flux_balance(bounds={"make_c": (0, 0)})
    assert fluxes(without)["give_b"] == pytest.approx(10)


def test_a_constraint_of_the_model_holds():
    found = load_model(PLANT.replace("<!--constraints-->", CONSTRAINT)).flux_balance()
    # C stops at 6, for which 4 A are needed; 6 A are left for B
    assert fluxes(found)["give_c"] == pytest.approx(6)
    assert found["objective_value"].item() == pytest.approx(18)


def test_what_the_model_says_is_plain_data():
    balance = load_model(PLANT).network.flux_balance
    assert balance is not None
    assert [g.label for g in balance.genes] == ["b0001", "b0002"]
    assert balance.associations == {"make_b": ["or", "g1", "g2"]}
    assert (balance.active, balance.strict) == ("profit", True)


def test_bounds_that_exclude_each_other_name_the_species():
    with pytest.raises(FluxBalanceError, match=r"cell 0.*'C' cannot be balanced") as caught:
        load_model(PLANT).flux_balance(bounds={"give_c": (1, 2), "make_c": (0, 0)})
    assert caught.value.status == "infeasible"
    with pytest.raises(FluxBalanceError, match=r"'take' \(5\) is above its upper bound \(1\)"):
        load_model(PLANT).flux_balance(bounds={"take": (5, 1)})


def test_an_objective_without_bound_names_the_reactions():
    with pytest.raises(FluxBalanceError, match=r"'profit' grows without end:.*'take'") as caught:
        load_model(PLANT).flux_balance(parameters={"none": 0}, bounds={"take": (0, np.inf)})
    assert caught.value.status == "unbounded"


def test_without_rate_laws_there_is_no_time_course():
    model = load_model(PLANT)
    with pytest.raises(ModelError, match="'make_c' has no kinetic law"):
        model.simulate([0, 1])
    with pytest.raises(ModelError, match="no kinetic law"):
        model.advance(model.initial_state(1), 1.0)


def test_without_an_objective_there_is_no_flux_balance():
    with pytest.raises(ModelError, match="fbc"):
        load_model("S = 1; R: S -> ; S;").flux_balance()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('fbc:upperFluxBound="most"', 'fbc:upperFluxBound="mast"', "'mast' is not a parameter; did you mean"),
        ('fbc:upperFluxBound="most"', "", "strict, and 'take' has no upper flux bound"),
        ('id="most" value="10" constant="true"', 'id="most" value="10" constant="false"', "strict"),
        ('id="most" value="10"', 'id="most"', "has no value"),
        ('fbc:activeObjective="profit"', 'fbc:activeObjective="profits"', "did you mean 'profit'"),
        ('fbc:reaction="take"', 'fbc:reaction="tike"', "'tike' is not a reaction; did you mean 'take'"),
        ('fbc:type="minimize"', 'fbc:type="least"', "to maximize or to minimize"),
        ('fbc:coefficient="2"', 'fbc:coefficient="INF"', "must be finite"),
        ('fbc:coefficient="2" fbc:variableType="linear"', 'fbc:coefficient="2" fbc:variableType="quadratic"',
         "a quadratic term is not supported"),
        ('fbc:geneProduct="g1"', 'fbc:geneProduct="g3"', "'g3' is not a gene product"),
        ('fbc:id="intake"', 'fbc:id="take"', "already taken"),
    ],
)  # fmt: skip
def test_faults_are_named_with_their_line(old, new, says):
    assert old in PLANT
    with pytest.raises(ModelError) as caught:
        load_model(PLANT.replace(old, new, 1))
    matching = [p for p in caught.value.problems if says in p.message]
    assert matching and all(p.line for p in matching)


def test_bounds_of_version_1():
    old = PLANT.replace("fbc/version3", "fbc/version1").replace(' fbc:variableType="linear"', "")
    old = re.sub(r' fbc:(strict|lowerFluxBound|upperFluxBound)="\w+"', "", old)
    old = re.sub(r"(?s)<fbc:(listOfGeneProducts|geneProductAssociation)>.*?</fbc:\1>", "", old)
    old = old.replace('value="INF"', 'value="1"')
    bounds = """<fbc:listOfFluxBounds>
    <fbc:fluxBound fbc:id="b" fbc:reaction="take" fbc:operation="lessEqual" fbc:value="7"/>
    <fbc:fluxBound fbc:reaction="give_b" fbc:operation="equal" fbc:value="1"/>
    </fbc:listOfFluxBounds>"""
    found = load_model(old.replace("<!--constraints-->", bounds)).flux_balance()
    assert fluxes(found) == pytest.approx({"take": 7, "make_b": 1, "make_c": 3, "give_b": 1, "give_c": 9})
