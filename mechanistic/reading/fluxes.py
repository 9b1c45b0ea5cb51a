"""Flux-balance constraints (SBML's package "fbc", versions 1 to 3): objectives, bounds, gene products."""

from __future__ import annotations

import re
from collections.abc import Iterable

from mechanistic.reading.numbers import number, shown
from mechanistic.reading.problems import Problems, closest
from mechanistic.reading.xmltree import Element

_FBC = re.compile(r"http://www\.sbml\.org/sbml/level3/version1/fbc/version([1-3])")
_SENSES = {"maximize": True, "maximise": True, "minimize": False, "minimise": False}


def has_objective(root: Element) -> bool:
    """Whether the document says what a flux balance is to optimise."""
    return any(e.tag == "objective" and _FBC.fullmatch(e.namespace) for e in root.walk())


def bounding(root: Element) -> frozenset[str]:
    """The ids of parameters that bound fluxes or sums of them, which may be infinite."""
    names = ("lowerFluxBound", "upperFluxBound", "lowerBound", "upperBound")
    return frozenset(v for e in root.walk() for name in names if (v := _value(e, name)))


class FluxReader:
    """Reads what one model says of its fluxes.

    Args:
        data: the plain data of the model's own elements (see `document.Document`).
        lines: where every id was declared; the ids of this package join them.
    """

    def __init__(self, model: Element, data: dict, lines: dict[str, int], problems: Problems):
        self.model, self.problems, self.lines = model, problems, lines
        self.reactions = {r["id"]: r for r in data["reactions"]}
        self.parameters = {p["id"]: p for p in data["parameters"]}
        self.assigned = {a["symbol"] for a in data["initial_assignments"]}
        self.strict = _value(model, "strict") in ("true", "1")

    def read(self) -> dict:
        holder = self._child("listOfObjectives")
        objectives = [self._objective(e) for e in holder.children if e.tag == "objective"] if holder else []
        active = _value(holder, "activeObjective") if holder else None
        if active and active not in {o["id"] for o in objectives}:
            hint = closest(active, [o["id"] for o in objectives])
            self._add(f"the active objective '{shown(active)}' is not declared{hint}", holder, "fbc")
        genes = [self._gene(e) for e in self._listed("listOfGeneProducts")]
        return {
            "strict": self.strict,
            "active": active or "",
            "objectives": objectives,
            "bounds": [*self._old_bounds(), *self._bounds()],
            "constraints": [self._constraint(e) for e in self._listed("listOfUserDefinedConstraints")],
            "genes": genes,
            "associations": list(self._associations({g["id"] for g in genes})),
        }

    # ---- parts

    def _objective(self, e: Element) -> dict:
        name, sense = self._id(e), _value(e, "type")
        if sense not in _SENSES:
            self._add(f"an objective is to maximize or to minimize (got {shown(sense or '')})", e, name)
        terms = [
            {"reaction": self._reaction(t, name), "coefficient": self._number(t, "coefficient", name)}
            for holder in e.children
            if holder.tag in ("listOfFluxObjectives", "listOfFluxes")
            for t in holder.children
            if self._linear(t, name)
        ]
        return {"id": name, "maximize": _SENSES.get(sense or "", True), "terms": terms, "line": e.line}

    def _linear(self, e: Element, key: str) -> bool:
        """Whether a term is linear; others have no linear programme, and are refused."""
        kind = _value(e, "variableType") or "linear"
        if kind == "linear" and not (_value(e, "reaction2") or _value(e, "variable2")):
            return True
        self._add("a quadratic term is not supported: fluxes are found by a linear programme", e, key)
        return False

    def _old_bounds(self) -> Iterable[dict]:
        """Bounds of version 1: each a reaction, a relation and a number."""
        for e in self._listed("listOfFluxBounds"):
            key = _value(e, "id") or "fluxBound"
            reaction = self._reaction(e, key)
            value = self._number(e, "value", key, finite=False)
            relation = _value(e, "operation")
            if relation not in ("lessEqual", "greaterEqual", "equal", "less", "greater"):
                self._add(f"unknown relation of a flux bound (got {shown(relation or '')})", e, key)
                continue
            yield {
                "reaction": reaction,
                "lower": None if relation in ("less", "lessEqual") else value,
                "upper": None if relation in ("greater", "greaterEqual") else value,
                "line": e.line,
            }

    def _bounds(self) -> Iterable[dict]:
        """Bounds since version 2: attributes of the reaction that name parameters."""
        for e in self.model.listed("listOfReactions"):
            name = e.attributes.get("id", "")
            ends = {end: _value(e, f"{end}FluxBound") for end in ("lower", "upper")}
            for end, parameter in ends.items():
                if parameter is None:
                    if self.strict:
                        self._add(f"the model is strict, and '{name}' has no {end} flux bound", e, name)
                    continue
                self._parameter(parameter, e, f"{name}.{end}FluxBound")
            if ends["lower"] or ends["upper"]:
                yield {"reaction": name, **ends, "line": e.line}

    def _constraint(self, e: Element) -> dict:
        name = self._id(e)
        ends = {end: _value(e, f"{end}Bound") for end in ("lower", "upper")}
        for parameter in ends.values():
            if parameter is not None:
                self._parameter(parameter, e, name)
        terms = []
        for t in e.listed("listOfUserDefinedConstraintComponents"):
            if not self._linear(t, name):
                continue
            coefficient = _value(t, "coefficient") or ""
            self._parameter(coefficient, t, name)
            terms.append({"reaction": self._reaction(t, name, "variable"), "coefficient": coefficient})
        return {"id": name, **ends, "terms": terms, "line": e.line}

    def _gene(self, e: Element) -> dict:
        label = _value(e, "label") or ""
        return {"id": self._id(e), "label": label, "name": _value(e, "name") or "", "line": e.line}

    def _associations(self, genes: set[str]) -> Iterable[dict]:
        for e in self.model.listed("listOfReactions"):
            holder = next((c for c in e.children if c.tag == "geneProductAssociation"), None)
            if holder is not None and holder.children:
                name = e.attributes.get("id", "")
                yield {"reaction": name, "rule": self._rule(holder.children[0], genes, name)}

    def _rule(self, e: Element, genes: set[str], key: str):
        if e.tag in ("and", "or"):
            return [e.tag, *(self._rule(c, genes, key) for c in e.children)]
        gene = _value(e, "geneProduct") or ""
        if e.tag != "geneProductRef" or gene not in genes:
            self._add(f"'{shown(gene or e.tag)}' is not a gene product{closest(gene, genes)}", e, key)
        return gene

    # ---- helpers

    def _add(self, message: str, e: Element | None, key: str) -> None:
        self.problems.add(message, e.line if e else None, shown(key))

    def _child(self, tag: str) -> Element | None:
        return next((c for c in self.model.children if c.tag == tag and _FBC.fullmatch(c.namespace)), None)

    def _listed(self, tag: str) -> list[Element]:
        holder = self._child(tag)
        return holder.children if holder else []

    def _id(self, e: Element) -> str:
        name = _value(e, "id") or ""
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            self._add(f"the id of this {e.tag} is no SBML identifier (got {shown(name)})", e, "id")
        elif name in self.lines:
            self._add(f"the id '{name}' is already taken at line {self.lines[name]}", e, name)
        else:
            self.lines[name] = e.line
        return name

    def _reaction(self, e: Element, key: str, attribute: str = "reaction") -> str:
        name = _value(e, attribute) or ""
        if name not in self.reactions:
            self._add(f"'{shown(name)}' is not a reaction{closest(name, self.reactions)}", e, key)
        return name

    def _parameter(self, name: str, e: Element, key: str) -> None:
        parameter = self.parameters.get(name)
        if parameter is None:
            self._add(f"'{shown(name)}' is not a parameter{closest(name, self.parameters)}", e, key)
        elif self.strict and (not parameter["constant"] or name in self.assigned):
            self._add(f"the model is strict, and '{name}' is not a constant with a plain value", e, key)
        elif parameter["value"] is None and name not in self.assigned and parameter["constant"]:
            self._add(f"'{name}' has no value", e, key)

    def _number(self, e: Element, attribute: str, key: str, finite: bool = True) -> float:
        text = _value(e, attribute)
        try:
            if text is None:
                raise ValueError("is missing")
            return number(text, infinite=not finite)
        except ValueError as error:
            self._add(f"{attribute} {error}", e, key)
            return 0.0


def _value(e: Element | None, attribute: str) -> str | None:
    """An attribute of this package, which documents write with its prefix or without."""
    if e is None:
        return None
    prefixed = (v for (uri, key), v in e.prefixed.items() if key == attribute and _FBC.fullmatch(uri))
    own = e.attributes.get(attribute) if _FBC.fullmatch(e.namespace) else None
    return next(prefixed, own)
