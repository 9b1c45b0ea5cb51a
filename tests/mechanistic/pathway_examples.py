"""Small models written for the tests."""

from __future__ import annotations

from pathlib import Path

SHARED = Path(__file__).resolve().parents[3] / "shared"

# A -> B -> nothing, with a boundary species that drives it and a parameter computed from another.
CHAIN = """model chain
  compartment c = 2;
  species A in c, B in c, $D in c;
  A = 10; B = 0; D = 3;
  k1 = 0.5; k2 := k1 / 5; half = 2 * k1;
  R1: A -> B; c * k1 * A;
  R2: B -> ; c * k2 * B * D;
end
"""

# Two inputs compete: stiff in k_fast, conserves E + ES.
ENZYME = """model enzyme
  compartment c = 1;
  species S in c, E in c, ES in c, P in c;
  S = 5; E = 1; ES = 0; P = 0;
  k_fast = 500; k_back = 300; k_cat = 2;
  bind: S + E -> ES; k_fast * S * E - k_back * ES;
  make: ES -> E + P; k_cat * ES;
end
"""

BASE = """<?xml version="1.0" encoding="UTF-8"?>
<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1">
<model id="m" substanceUnits="mole" timeUnits="second" volumeUnits="litre">
<listOfCompartments>
<compartment id="c" spatialDimensions="3" size="1" constant="true"/>
</listOfCompartments>
<listOfSpecies>
<species id="S1" compartment="c" initialConcentration="1" hasOnlySubstanceUnits="false"
 boundaryCondition="false" constant="false"/>
<species id="S2" compartment="c" initialConcentration="0" hasOnlySubstanceUnits="false"
 boundaryCondition="false" constant="false"/>
</listOfSpecies>
<listOfParameters>
<parameter id="k" value="1" constant="true"/>
<parameter id="x" value="1" constant="false"/>
</listOfParameters>
<!--rules-->
<listOfReactions>
<reaction id="R1" reversible="false" fast="false">
<listOfReactants><speciesReference species="S1" stoichiometry="1" constant="true"/></listOfReactants>
<listOfProducts><speciesReference species="S2" stoichiometry="1" constant="true"/></listOfProducts>
<kineticLaw><math xmlns="http://www.w3.org/1998/Math/MathML">
<apply><times/><ci>k</ci><ci>S1</ci></apply>
</math></kineticLaw>
</reaction>
</listOfReactions>
</model>
</sbml>
"""

MATH = '<math xmlns="http://www.w3.org/1998/Math/MathML">'


def changed(old: str, new: str) -> str:
    """BASE with `old` replaced; fails where it does not occur, so that no test runs on the plain model."""
    assert old in BASE, old
    return BASE.replace(old, new)


def with_rules(*rules: str) -> str:
    """BASE with assignment rules, each written "variable = MathML"."""
    texts = []
    for rule in rules:
        variable, _, content = rule.partition(" = ")
        texts.append(f'<assignmentRule variable="{variable}">{MATH}{content}</math></assignmentRule>')
    return changed("<!--rules-->", "<listOfRules>\n" + "\n".join(texts) + "\n</listOfRules>")
