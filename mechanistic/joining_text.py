"""The SBML text of a model with more elements written into it, so that what is joined can be handed on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from mechanistic.parts import Reaction, Tree
from mechanistic.reading.mathml import ELEMENTS

if TYPE_CHECKING:
    from mechanistic.network import ReactionNetwork

_MATHML = "http://www.w3.org/1998/Math/MathML"
_TIME = "http://www.sbml.org/sbml/symbols/time"
# SBML fixes the order of a model's lists
_LISTS = (
    "listOfFunctionDefinitions", "listOfUnitDefinitions", "listOfCompartmentTypes", "listOfSpeciesTypes",
    "listOfCompartments", "listOfSpecies", "listOfParameters", "listOfInitialAssignments", "listOfRules",
    "listOfConstraints", "listOfReactions", "listOfEvents",
)  # fmt: skip


def text_with(
    network: ReactionNetwork,
    constants: Mapping[str, float],
    rules: Mapping[str, Tree],
    initial: Mapping[str, Tree],
    reactions: Sequence[Reaction],
    rates: Mapping[str, Tree],
    states: Mapping[str, tuple[float, Tree]],
) -> str:
    """The text of `network` with more elements; "" where it cannot be written.

    That is where the model is of Level 1, which has no such elements, or where something local to a reaction is
    named, which the text alone knows as local.
    """
    local = {p.id for p in network.parameters if p.local}
    if (
        network.level == 1
        or not network.source
        or local & _names({**rules, **{n: t for n, (_, t) in states.items()}}, initial, reactions, rates)
    ):
        return ""
    root = ET.fromstring(network.source)
    space = root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""
    model = root.find(f"{space}model")
    if model is None:
        return ""
    writer = _Writer(model, space, network.level, network.version)
    for name in [*constants, *(r for r in rules if r not in network)]:
        writer.parameter(name, constants.get(name))
    for name, tree in initial.items():
        writer.initial(name, tree)
    for name, tree in rules.items():
        writer.rule(name, tree)
    for name, (start, tree) in states.items():
        writer.state(name, start, tree)
    for reaction in reactions:
        writer.reaction(reaction)
    for name, tree in rates.items():
        writer.rate(name, tree)
    return ET.tostring(root, encoding="unicode")


class _Writer:
    def __init__(self, model: ET.Element, space: str, level: int, version: int):
        self.model, self.space, self.level, self.version = model, space, level, version

    def parameter(self, name: str, value: float | None) -> None:
        given = {} if value is None else {"value": repr(float(value))}
        constant = "false" if value is None else "true"
        self._add("listOfParameters", "parameter", {"id": name, **given, "constant": constant})

    def initial(self, name: str, tree: Tree) -> None:
        self._remove("listOfInitialAssignments", "initialAssignment", "symbol", name)
        self._math(self._add("listOfInitialAssignments", "initialAssignment", {"symbol": name}), tree)

    def rule(self, name: str, tree: Tree) -> None:
        self._remove("listOfInitialAssignments", "initialAssignment", "symbol", name)
        self._remove("listOfRules", "assignmentRule", "variable", name)
        for parameter in self._known("listOfParameters"):
            if parameter.get("id") == name:
                parameter.set("constant", "false")
                parameter.attrib.pop("value", None)
        self._math(self._add("listOfRules", "assignmentRule", {"variable": name}), tree)

    def state(self, name: str, start: float, tree: Tree) -> None:
        given = {"id": name, "value": repr(float(start)), "constant": "false"}
        self._add("listOfParameters", "parameter", given)
        self._math(self._add("listOfRules", "rateRule", {"variable": name}), tree)

    def reaction(self, reaction: Reaction) -> None:
        three = self.level >= 3
        fast = {"fast": "false"} if not three or self.version == 1 else {}
        element = self._add("listOfReactions", "reaction", {"id": reaction.id, "reversible": "false", **fast})
        for tag, references in (
            ("listOfReactants", reaction.reactants),
            ("listOfProducts", reaction.products),
        ):
            if references:
                group = ET.SubElement(element, self.space + tag)
                for q in references:
                    given = {"species": q.species, "stoichiometry": repr(q.stoichiometry)}
                    given |= {"constant": "true"} if three else {}
                    ET.SubElement(group, self.space + "speciesReference", given)
        self._modifiers(element, reaction.rate)
        self._math(ET.SubElement(element, self.space + "kineticLaw"), reaction.rate)

    def rate(self, name: str, tree: Tree) -> None:
        for reaction in self._known("listOfReactions"):
            if reaction.get("id") == name:
                law = reaction.find(self.space + "kineticLaw")
                if law is None:
                    law = ET.SubElement(reaction, self.space + "kineticLaw")
                for math in law.findall(f"{{{_MATHML}}}math"):
                    law.remove(math)
                math = ET.Element(f"{{{_MATHML}}}math")
                math.append(_mathml(tree))
                law.insert(0, math)
                self._modifiers(reaction, tree)

    def _modifiers(self, reaction: ET.Element, rate: Tree) -> None:
        """Every species of the rate law has to be named in the reaction."""
        species = {s.get("id") for s in self._known("listOfSpecies")}
        named = {e.get("species") for group in reaction for e in group}
        missing = sorted(str(name) for name in (_tree_names(rate) & species) - named)
        if not missing:
            return
        group = reaction.find(self.space + "listOfModifiers")
        if group is None:
            group = ET.Element(self.space + "listOfModifiers")
            laws = [i for i, child in enumerate(reaction) if child.tag == self.space + "kineticLaw"]
            reaction.insert(laws[0] if laws else len(reaction), group)
        for name in missing:
            ET.SubElement(group, self.space + "modifierSpeciesReference", {"species": name})

    def _math(self, holder: ET.Element, tree: Tree) -> None:
        ET.SubElement(holder, f"{{{_MATHML}}}math").append(_mathml(tree))

    def _add(self, list_tag: str, tag: str, attributes: dict[str, str]) -> ET.Element:
        return ET.SubElement(self._list(list_tag), self.space + tag, attributes)

    def _remove(self, list_tag: str, tag: str, key: str, name: str) -> None:
        group = self.model.find(self.space + list_tag)
        if group is None:
            return
        for element in group.findall(self.space + tag):
            if element.get(key) == name:
                group.remove(element)
        if not len(group):
            self.model.remove(group)

    def _known(self, tag: str) -> list[ET.Element]:
        found = self.model.find(self.space + tag)
        return [] if found is None else list(found)

    def _list(self, tag: str) -> ET.Element:
        found = self.model.find(self.space + tag)
        if found is None:
            before = {self.space + t for t in _LISTS[: _LISTS.index(tag)]}
            before |= {self.space + t for t in ("notes", "annotation")}
            places = [i for i, child in enumerate(self.model) if child.tag in before]
            found = ET.Element(self.space + tag)
            self.model.insert(places[-1] + 1 if places else 0, found)
        return found


def _mathml(tree: Tree) -> ET.Element:
    if isinstance(tree, str):
        return _leaf("ci", tree)
    if not isinstance(tree, list):
        return _number(float(tree))
    operator, *parts = tree
    if operator == "time":
        leaf = _leaf("csymbol", "t")
        leaf.set("encoding", "text")
        leaf.set("definitionURL", _TIME)
        return leaf
    if operator in ("true", "false"):
        return _leaf(operator, None)
    if operator == "piecewise":
        element = _leaf("piecewise", None)
        for i in range(len(parts) // 2):
            piece = ET.SubElement(element, f"{{{_MATHML}}}piece")
            piece.extend([_mathml(parts[2 * i]), _mathml(parts[2 * i + 1])])
        if len(parts) % 2:
            ET.SubElement(element, f"{{{_MATHML}}}otherwise").append(_mathml(parts[-1]))
        return element
    if operator in ("max", "min"):
        return _mathml(_extreme(operator, parts))
    element = _leaf("apply", None)
    element.append(_leaf(ELEMENTS[operator], None))
    element.extend(_mathml(part) for part in parts)
    return element


def _extreme(operator: str, parts: list[Tree]) -> Tree:
    """`max` and `min` as every level of SBML has them."""
    result = parts[0]
    for part in parts[1:]:
        relation = ">" if operator == "max" else "<"
        result = ["piecewise", result, [relation, result, part], part]
    return result


def _leaf(tag: str, text: str | None) -> ET.Element:
    element = ET.Element(f"{{{_MATHML}}}{tag}")
    element.text = text
    return element


def _number(value: float) -> ET.Element:
    mantissa, _, exponent = repr(value).partition("e")
    element = _leaf("cn", mantissa)
    if exponent:
        element.set("type", "e-notation")
        ET.SubElement(element, f"{{{_MATHML}}}sep").tail = exponent
    return element


def _names(
    rules: Mapping[str, Tree],
    initial: Mapping[str, Tree],
    reactions: Sequence[Reaction],
    rates: Mapping[str, Tree],
) -> set[str]:
    found = {*rules, *initial}
    for tree in (*rules.values(), *initial.values(), *rates.values(), *(r.rate for r in reactions)):
        found |= _tree_names(tree)
    return found


def _tree_names(tree: Tree) -> set[str]:
    if isinstance(tree, str):
        return {tree}
    return {n for part in tree[1:] for n in _tree_names(part)} if isinstance(tree, list) else set()
