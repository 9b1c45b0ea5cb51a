"""The SBML of a model with what RoadRunner does not read put in other, equal words, by libsbml."""

from __future__ import annotations

from mechanistic.reading.mathml import element_of


def rewritten(data: bytes, solved: list[dict], moving: dict[str, float | None]) -> bytes:
    """The document without algebraic rules and without stoichiometries that change by themselves.

    Args:
        solved: what `algebraic.solve` made of the algebraic rules that hold math, in document order.
        moving: start values of the species references that a rate rule or an event changes. Each becomes a
            parameter, and the reference is assigned from it.
    """
    import libsbml

    document = libsbml.readSBMLFromString(data.decode("utf-8", "replace"))
    model = document.getModel()
    rules, remaining = model.getListOfRules(), iter(solved)
    for i in reversed([i for i in range(model.getNumRules()) if _is_empty(model.getRule(i))]):
        model.removeRule(i)
    for i in range(model.getNumRules()):
        if model.getRule(i).isAlgebraic():
            made = _rule(model, next(remaining), libsbml)
            model.removeRule(i)
            rules.insert(i, made)
    for i in range(model.getNumReactions()):
        reaction = model.getReaction(i)
        for q in [*reaction.getListOfReactants(), *reaction.getListOfProducts()]:
            name = q.getId()
            if name not in moving:
                continue
            q.setId(_free(model, f"{name}_now"))
            q.setConstant(False)
            parameter = model.createParameter()
            parameter.setId(name)
            parameter.setConstant(False)
            if moving[name] is not None:
                parameter.setValue(moving[name])
            assigned = {"kind": "assignment", "variable": q.getId(), "math": name}
            rules.append(_rule(model, assigned, libsbml))
    return libsbml.writeSBMLToString(document).encode()


def _is_empty(rule) -> bool:
    return rule.isAlgebraic() and not rule.isSetMath()


def _rule(model, rule: dict, libsbml):
    make = libsbml.AssignmentRule if rule["kind"] == "assignment" else libsbml.RateRule
    made = make(model.getLevel(), model.getVersion())
    made.setVariable(rule["variable"])
    text = f'<math xmlns="http://www.w3.org/1998/Math/MathML">{element_of(rule["math"])}</math>'
    made.setMath(libsbml.readMathMLFromString(text))
    return made


def _free(model, name: str) -> str:
    while model.getElementBySId(name) is not None:
        name += "_"
    return name
