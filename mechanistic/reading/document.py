"""The element tree of an SBML document (Level 2 or 3) to plain data, with local parameters promoted."""

from __future__ import annotations

import re

from mechanistic.reading.fluxes import FluxReader, bounding, has_objective
from mechanistic.reading.mathml import MathReader
from mechanistic.reading.numbers import number, shown
from mechanistic.reading.problems import (
    LONGEST_ID,
    MOST_REFERENCES,
    Problems,
)
from mechanistic.reading.units import Units
from mechanistic.reading.xmltree import Element

_SID = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CORE = "http://www.sbml.org/sbml/level"
_KNOWN_VERSIONS = {2: range(1, 6), 3: range(1, 3)}  # Level 1 is converted before it gets here
_PACKAGE = re.compile(r"http://www\.sbml\.org/sbml/level3/version\d/([a-z]+)/version\d")
_MOST_DIMENSIONS = 100
_HARMLESS_PACKAGES = frozenset({"layout", "render", "groups", "annot", "distrib"})


class Document:
    """Reads one document. `data` is what `mechanistic.network.ReactionNetwork` is built from."""

    def __init__(self, root: Element, namespaces: dict[str, str], problems: Problems):
        self.problems = problems
        self.level, self.version = self._level(root)
        self.balanced = has_objective(root)
        self.flux_bounds = bounding(root) if self.balanced else frozenset()
        self._packages(root, namespaces)
        models = [c for c in root.children if c.tag == "model"]
        if len(models) != 1:
            what = "no model in the file" if not models else f"{len(models)} models in the file (one is read)"
            raise problems.refuse(what, root.line if not models else models[1].line, "model")
        self.model = models[0]
        self.math = MathReader(problems, (self.level, self.version) >= (3, 2))
        self.units = Units(self.model, self.level, problems)
        self.lines: dict[str, int] = {}
        self.data = self._model()

    def _level(self, root: Element) -> tuple[int, int]:
        if root.tag != "sbml":
            raise self.problems.refuse(
                f"this is no SBML file (its root is <{shown(root.tag)}>)", root.line, "sbml"
            )
        texts = root.attributes.get("level", ""), root.attributes.get("version", "")
        if not all(re.fullmatch("[0-9]{1,2}", t) for t in texts) or int(texts[1]) not in _KNOWN_VERSIONS.get(
            int(texts[0]), ()
        ):
            got = f"SBML level {shown(texts[0])} version {shown(texts[1])}"
            raise self.problems.refuse(f"{got} is not known (levels 1 to 3 are read)", root.line, "level")
        if not root.namespace.startswith(_CORE):
            raise self.problems.refuse(f"not an SBML namespace: {shown(root.namespace)}", root.line, "sbml")
        level, version = int(texts[0]), int(texts[1])
        if root.namespace != (own := _namespace(level, version)):
            message = (
                f"the namespace of level {level} version {version} is {own} (got {shown(root.namespace)})"
            )
            raise self.problems.refuse(message, root.line, "sbml")
        return level, version

    def _packages(self, root: Element, namespaces: dict[str, str]) -> None:
        for prefix, uri in namespaces.items():
            match = _PACKAGE.fullmatch(uri)
            required = next((v for (u, k), v in root.prefixed.items() if u == uri and k == "required"), None)
            name = match[1] if match else prefix
            if name == "fbc" and self.balanced:
                continue
            if (match and name not in _HARMLESS_PACKAGES and name != "core" and self._used(root, uri)) or (
                required == "true" and name not in _HARMLESS_PACKAGES
            ):
                self._refuse_package(root, name, uri)

    def _used(self, root: Element, uri: str) -> bool:
        return any(
            e.namespace == uri or any(u == uri for u, _ in e.prefixed) for e in root.walk() if e is not root
        )

    def _refuse_package(self, root: Element, name: str, uri: str) -> None:
        first = next((e for e in root.walk() if e.namespace == uri), root)
        what = "has no objective to optimise" if name == "fbc" else "is not supported"
        self.problems.add(f"the SBML package '{shown(name)}' {what}", first.line, shown(name))

    # ---- the model

    def _model(self) -> dict:
        m = self.model
        data: dict = {
            "id": m.attributes.get("id", ""),
            "name": m.attributes.get("name", ""),
            "level": self.level,
            "version": self.version,
            "conversion_factor": m.attributes.get("conversionFactor"),
            "line": m.line,
            "functions": [self._function(e) for e in m.listed("listOfFunctionDefinitions")],
            "compartments": [self._compartment(e) for e in m.listed("listOfCompartments")],
        }
        for kind in ("time", "substance", "volume", "extent"):
            data[f"{kind}_unit"] = self.units.of_model(m, kind)
        sizes = {c["id"]: c for c in data["compartments"]}
        data["species"] = [self._species(e, sizes) for e in m.listed("listOfSpecies")]
        data["parameters"] = [self._parameter(e) for e in m.listed("listOfParameters")]
        data["reactions"] = []
        for e in m.listed("listOfReactions"):
            data["reactions"].append(self._reaction(e, data["parameters"]))
        data["rules"] = [r for e in m.listed("listOfRules") if (r := self._rule(e))]
        data["initial_assignments"] = [
            {"symbol": e.attributes.get("symbol", ""), "math": tree, "line": e.line}
            for e in m.listed("listOfInitialAssignments")
            if (tree := self.math.read(e, e.attributes.get("symbol", ""))) is not None
        ]
        data["events"] = [
            v for i, e in enumerate(m.listed("listOfEvents"), 1) if (v := self._event(e, i)) is not None
        ]
        data["constraints"] = len(m.listed("listOfConstraints"))
        data["flux_balance"] = (
            FluxReader(m, data, self.lines, self.problems).read() if self.balanced else None
        )
        data["lines"] = self.lines
        return data

    def _id(self, e: Element, required: bool = True) -> str:
        text = e.attributes.get("id")
        if text is None and not required:
            return ""
        if text is None or not _SID.fullmatch(text):
            what = "is missing" if text is None else f"is no SBML identifier (got {shown(text)})"
            self.problems.add(f"the id of this {e.tag} {what}", e.line, "id")
            return text or ""
        if len(text) > LONGEST_ID:
            message = f"an id of {len(text)} characters (at most {LONGEST_ID})"
            raise self.problems.refuse(message, e.line, "id")
        if text in self.lines:
            self.problems.add(f"the id '{text}' is already taken at line {self.lines[text]}", e.line, text)
        else:
            self.lines[text] = e.line
        return text

    def _number(
        self, e: Element, attribute: str, key: str, default: float | None = None, any_value: bool = False
    ) -> float | None:
        if attribute not in e.attributes:
            return default
        try:
            infinite = any_value or key in self.flux_bounds
            return number(e.attributes[attribute], infinite, any_value and key not in self.flux_bounds)
        except ValueError as error:
            self.problems.add(f"{attribute} {error}", e.line, key)
            return 1.0

    def _flag(self, e: Element, attribute: str, default: bool) -> bool:
        text = e.attributes.get(attribute)
        if text is None:
            return default
        if text.strip() not in ("true", "false", "1", "0"):
            self.problems.add(
                f"{attribute} must be true or false (got {shown(text)})", e.line, e.attributes.get("id")
            )
        return text.strip() in ("true", "1")

    def _function(self, e: Element) -> dict:
        name = self._id(e)
        result = {"id": name, "arguments": [], "body": None, "line": e.line}
        math = e.child("math")
        head = math.children[0] if math is not None and math.children else None
        if head is not None and head.tag == "semantics" and head.children:
            head = head.children[0]
        if head is None or head.tag != "lambda":
            if head is not None or not self.math.level3v2:
                self.problems.add(f"the function '{shown(name)}' holds no lambda", e.line, name)
            return result
        for argument in head.children[:-1]:
            text = "".join(c.text for c in argument.children).strip()
            if text in result["arguments"]:
                self.problems.add(
                    f"two arguments of '{name}' are called '{shown(text)}'", argument.line, name
                )
            result["arguments"].append(text)
        if not head.children or head.children[-1].tag == "bvar":
            self.problems.add(f"the function '{shown(name)}' has no body", e.line, name)
            return result
        holder = Element("math", head.namespace, {}, {}, head.line)
        holder.children = [head.children[-1]]
        result["body"] = self.math.read(holder, name, "a")
        return result

    def _compartment(self, e: Element) -> dict:
        name = self._id(e)
        dimensions = self._number(e, "spatialDimensions", name, 3.0)
        # Level 3 takes any number, and says nothing of what more than 3 mean
        most = 3 if self.level < 3 else _MOST_DIMENSIONS
        if dimensions is None or not 0 <= dimensions <= most:
            self.problems.add(f"spatialDimensions must lie in 0..{most} (got {dimensions:g})", e.line, name)
            dimensions = 3.0
        # a point has no size: concentrations in it are amounts
        size = self._number(e, "size", name, 1.0 if dimensions == 0 else None)
        kind = {3.0: "volume", 2.0: "area", 1.0: "length"}.get(dimensions)
        unit = self.units.text(e.attributes.get("units"), e.line, name)
        if unit is None and kind:
            unit = self.units.of_model(self.model, kind)
        return {
            "id": name,
            "name": e.attributes.get("name", ""),
            "size": size,
            "dimensions": dimensions,
            "constant": self._flag(e, "constant", True),
            "unit": unit,
            "line": e.line,
        }

    def _species(self, e: Element, compartments: dict) -> dict:
        name = self._id(e)
        compartment = compartments.get(e.attributes.get("compartment", ""))
        unit = self.units.text(e.attributes.get("substanceUnits"), e.line, name)
        amount_unit = unit or self.units.of_model(self.model, "substance")
        only_amount = self._flag(e, "hasOnlySubstanceUnits", False)
        if compartment is not None and compartment["dimensions"] == 0:
            only_amount = True
        return {
            "id": name,
            "name": e.attributes.get("name", ""),
            "compartment": e.attributes.get("compartment", ""),
            "amount": self._number(e, "initialAmount", name),
            "concentration": self._number(e, "initialConcentration", name),
            "substance_only": only_amount,
            "boundary": self._flag(e, "boundaryCondition", False),
            "constant": self._flag(e, "constant", False),
            "unit": amount_unit,
            "conversion_factor": e.attributes.get("conversionFactor"),
            "line": e.line,
        }

    def _parameter(self, e: Element, name: str | None = None) -> dict:
        name = self._id(e) if name is None else name
        return {
            "id": name,
            "name": e.attributes.get("name", ""),
            # what is not finite is refused where it is used
            "value": self._number(e, "value", name, any_value=True),
            "constant": self._flag(e, "constant", True),
            "unit": self.units.text(e.attributes.get("units"), e.line, name),
            "local": False,
            "line": e.line,
        }

    def _reaction(self, e: Element, parameters: list[dict]) -> dict:
        name = self._id(e)
        law = e.child("kineticLaw")
        rate, renamed = None, {}
        if law is None and not self.balanced:
            self.problems.add("a reaction without a kinetic law cannot be simulated", e.line, name)
        elif law is not None:
            rate = self.math.read(law, name)
            for p in law.listed("listOfLocalParameters") + law.listed("listOfParameters"):
                local = p.attributes.get("id", "")
                if not _SID.fullmatch(local) or local in renamed:
                    self.problems.add(
                        f"the id {shown(local)} of a local parameter is not usable", p.line, f"{name}.id"
                    )
                    continue
                renamed[local] = f"{name}_{local}"
                promoted = self._parameter(p, renamed[local]) | {"constant": True, "local": True}
                parameters.append(promoted)
        return {
            "id": name,
            "name": e.attributes.get("name", ""),
            "reversible": self._flag(e, "reversible", True),
            "fast": self._flag(e, "fast", False),
            "rate": renamed_ids(rate, renamed),
            "reactants": self._references(e, "listOfReactants", name),
            "products": self._references(e, "listOfProducts", name),
            "modifiers": [r.attributes.get("species", "") for r in e.listed("listOfModifiers")],
            "line": e.line,
        }

    def _references(self, e: Element, tag: str, reaction: str) -> list[dict]:
        found = e.listed(tag)
        if len(found) > MOST_REFERENCES:
            message = f"{len(found)} species in one reaction (at most {MOST_REFERENCES})"
            raise self.problems.refuse(message, e.line, reaction)
        return [self._reference(r, reaction) for r in found]

    def _reference(self, e: Element, reaction: str) -> dict:
        name = self._id(e, required=False)
        value: object = self._number(e, "stoichiometry", reaction, None if self.level > 2 else 1.0)
        # in Level 3 Version 2 a negative one means what it says; before, it is a slip more often than not
        lowest = -1e100 if (self.level, self.version) >= (3, 2) else 0.0
        if isinstance(value, float) and not lowest <= value < 1e100:
            wanted = "0 or more, and below 1e100" if lowest == 0.0 else "within 1e100"
            self.problems.add(f"stoichiometry must be {wanted} (got {value:g})", e.line, reaction)
        formula = e.child("stoichiometryMath")
        if formula is not None:
            value = self.math.read(formula, reaction)
        return {
            "id": name,
            "species": e.attributes.get("species", ""),
            "stoichiometry": value,
            "constant": self._flag(e, "constant", False),
            "line": e.line,
        }

    def _rule(self, e: Element) -> dict | None:
        variable = e.attributes.get("variable", "")
        if e.tag == "algebraicRule":
            tree = self.math.read(e, "algebraicRule")
            rule = {"kind": "algebraic", "variable": "", "math": tree, "line": e.line}
            return None if tree is None else rule
        if e.tag not in ("assignmentRule", "rateRule"):
            self.problems.add(f"unknown rule <{shown(e.tag)}>", e.line, shown(variable))
            return None
        tree = self.math.read(e, shown(variable))
        kind = "assignment" if e.tag == "assignmentRule" else "rate"
        return None if tree is None else {"kind": kind, "variable": variable, "math": tree, "line": e.line}

    def _event(self, e: Element, position: int) -> dict | None:
        name = self._id(e, required=False) or f"event_{position}"
        trigger = e.child("trigger")
        tree = None
        if trigger is None:
            if not self.math.level3v2:
                self.problems.add("an event without a trigger", e.line, name)
        else:
            tree = self.math.read(trigger, name, "b")
        parts: dict = {}
        for part in ("delay", "priority"):
            holder = e.child(part)
            parts[part] = None if holder is None else self.math.read(holder, name)
        if isinstance(delay := _constant(parts["delay"]), float) and delay < 0:
            self.problems.add(f"the delay of an event must not be negative (got {delay:g})", e.line, name)
        assignments = []
        for a in e.listed("listOfEventAssignments"):
            variable = a.attributes.get("variable", "")
            if (math := self.math.read(a, name)) is not None:
                assignments.append({"variable": variable, "math": math, "line": a.line})
        if tree is None:
            return None
        assert trigger is not None
        return {
            "id": name,
            "named": "id" in e.attributes,
            "name": e.attributes.get("name", ""),
            "trigger": tree,
            "initial_value": self._flag(trigger, "initialValue", True),
            "persistent": self._flag(trigger, "persistent", True),
            "from_trigger_time": self._flag(e, "useValuesFromTriggerTime", True),
            "delay": parts["delay"],
            "priority": parts["priority"],
            "assignments": assignments,
            "line": e.line,
        }


def renamed_ids(tree, names: dict[str, str]):
    """`tree` with ids replaced by `names` (operators and called functions stay)."""
    if isinstance(tree, str):
        return names.get(tree, tree)
    if not isinstance(tree, list) or not names:
        return tree
    fixed = 2 if tree[0] == "call" else 1
    result = tree[:fixed]
    for part in tree[fixed:]:
        result.append(renamed_ids(part, names))
    return result


def _constant(tree) -> float | None:
    if isinstance(tree, list) and tree[0] == "-" and len(tree) == 2 and isinstance(tree[1], float):
        return -tree[1]
    return tree if isinstance(tree, float) else None


def _namespace(level: int, version: int) -> str:
    """The one namespace of a level and version, whose rules the file says that it follows."""
    of_version = f"/version{version}" if (level, version) != (2, 1) else ""
    return f"{_CORE}{level}{of_version}{'/core' if level == 3 else ''}"
