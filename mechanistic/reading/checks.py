"""Does the model make sense? References, who determines what, cycles, sizes. Faults carry id and line."""

from __future__ import annotations

import math

from mechanistic.reading.algebraic import solve
from mechanistic.reading.chance import bounds_of_draws, refuse_continuous, without_bounds
from mechanistic.reading.delays import refuse_too_many
from mechanistic.reading.functions import Functions, find_cycle, references
from mechanistic.reading.problems import Problems, closest


class Checker:
    """Checks the plain data of one model and inlines its functions, in place."""

    def __init__(self, data: dict, problems: Problems):
        self.data, self.problems = data, problems
        self.compartments = {c["id"]: c for c in data["compartments"]}
        self.species = {s["id"]: s for s in data["species"]}
        self.parameters = {p["id"]: p for p in data["parameters"]}
        self.reactions = {r["id"]: r for r in data["reactions"]}
        self.stoichiometries = {
            q["id"]: q for r in data["reactions"] for q in r["reactants"] + r["products"] if q["id"]
        }
        self.symbols = {**self.compartments, **self.species, **self.parameters, **self.stoichiometries}
        self.names = {**self.symbols, **self.reactions}

    def run(self) -> None:
        self._inline()
        self._algebraic()
        self._moving_stoichiometries()
        self._ownership()
        self._structure()
        refuse_continuous(self.data, self.problems)
        self._values()
        self._math()
        self._cycles()

    # ---- functions

    def _inline(self) -> None:
        functions = Functions(self.data.pop("functions"), self.problems)
        for r in self.data["reactions"]:
            r["rate"] = functions.expand(r["rate"], r["line"], r["id"])
            for q in r["reactants"] + r["products"]:
                q["stoichiometry"] = functions.expand(q["stoichiometry"], q["line"], r["id"])
        for rule in self.data["rules"]:
            rule["math"] = functions.expand(rule["math"], rule["line"], rule["variable"])
        for a in self.data["initial_assignments"]:
            a["math"] = functions.expand(a["math"], a["line"], a["symbol"])
        for e in self.data["events"]:
            for part in ("trigger", "delay", "priority"):
                e[part] = functions.expand(e[part], e["line"], e["id"])
            for a in e["assignments"]:
                a["math"] = functions.expand(a["math"], a["line"], e["id"])

    # ---- who determines what

    def _algebraic(self) -> None:
        rules = self.data["rules"]
        places = [i for i, r in enumerate(rules) if r["kind"] == "algebraic"]
        self.data["solved"] = []
        if not places or self.problems.entries:
            self.data["rules"] = [r for r in rules if r["kind"] != "algebraic"]
            return
        fixed = {s["id"] for s in self.data["species"] if s["boundary"]}
        changed = {
            q["species"] for r in self.data["reactions"] for q in r["reactants"] + r["products"]
        } - fixed
        changed |= {a["variable"] for e in self.data["events"] for a in e["assignments"]}
        free = {name for name, thing in self.symbols.items() if not thing["constant"]} - changed
        solved = solve(rules, free, self.problems)
        if not self.problems.entries:
            self.data["solved"] = [solved[i] for i in places]
        self.data["rules"] = solved

    def _moving_stoichiometries(self) -> None:
        """A species reference that a rate rule or an event changes becomes a parameter that the reaction uses."""
        changed = {r["variable"] for r in self.data["rules"] if r["kind"] == "rate"}
        changed |= {a["variable"] for e in self.data["events"] for a in e["assignments"]}
        self.data["moving"] = {}
        for name in sorted(changed & set(self.stoichiometries)):
            q = self.stoichiometries.pop(name)
            self.data["moving"][name] = q["stoichiometry"] if isinstance(q["stoichiometry"], float) else None
            parameter = {
                "id": name,
                "name": f"stoichiometry of {q['species']}",
                "value": q["stoichiometry"],
                "constant": q["constant"],
                "unit": "dimensionless",
                "local": False,
                "line": q["line"],
            }
            self.data["parameters"].append(parameter)
            self.parameters[name] = self.symbols[name] = self.names[name] = parameter
            q["id"], q["stoichiometry"] = "", name

    def _ownership(self) -> None:
        add = self.problems.add
        self.assigned, self.rated, self.initialised = {}, {}, {}
        for rule in self.data["rules"]:
            name, line = rule["variable"], rule["line"]
            target = self.symbols.get(name)
            if target is None:
                add(f"a rule for '{name}', which is not declared{closest(name, self.symbols)}", line, name)
                continue
            earlier = self.assigned.get(name) or self.rated.get(name)
            if earlier is not None:
                add(f"two rules for '{name}' (the other at line {earlier['line']})", line, name)
                continue
            if target["constant"]:
                add(f"a rule for '{name}', which is declared constant", line, name)
            (self.assigned if rule["kind"] == "assignment" else self.rated)[name] = rule
        for a in self.data["initial_assignments"]:
            name, line = a["symbol"], a["line"]
            if name not in self.symbols:
                add(
                    f"an initial assignment to '{name}', which is not declared{closest(name, self.symbols)}",
                    line,
                    name,
                )
            elif name in self.initialised:
                add(f"two initial assignments to '{name}'", line, name)
            elif name in self.assigned:
                other = self.assigned[name]["line"]
                add(f"'{name}' has an initial assignment and an assignment rule (line {other})", line, name)
            self.initialised[name] = a
        for e in self.data["events"]:
            seen = set()
            for a in e["assignments"]:
                self._check_event_target(e, a, seen)

    def _check_event_target(self, event: dict, assignment: dict, seen: set) -> None:
        name, line, add = assignment["variable"], assignment["line"], self.problems.add
        target = self.symbols.get(name)
        if target is None:
            message = f"the event assigns '{name}', which is not declared{closest(name, self.symbols)}"
            add(message, line, f"{event['id']}.{name}")
        elif target["constant"]:
            add(f"the event assigns '{name}', which is declared constant", line, f"{event['id']}.{name}")
        elif name in self.assigned:
            add(f"the event assigns '{name}', which has an assignment rule", line, f"{event['id']}.{name}")
        if name in seen:
            add(f"the event assigns '{name}' twice", line, f"{event['id']}.{name}")
        seen.add(name)

    def _structure(self) -> None:
        add = self.problems.add
        for s in self.data["species"]:
            if s["compartment"] not in self.compartments:
                hint = closest(s["compartment"], self.compartments)
                add(
                    f"compartment: '{s['compartment']}' is not declared{hint}",
                    s["line"],
                    f"{s['id']}.compartment",
                )
            if s["amount"] is not None and s["concentration"] is not None:
                add("has both an initial amount and an initial concentration", s["line"], s["id"])
        for holder in [self.data, *self.data["species"]]:
            factor = holder["conversion_factor"]
            if factor is not None and factor not in self.parameters:
                hint = closest(factor, self.parameters)
                add(
                    f"the conversion factor '{factor}' is not a parameter{hint}",
                    holder["line"],
                    holder["id"] or "model",
                )
        for r in self.data["reactions"]:
            named = {q["species"] for q in r["reactants"] + r["products"]} | set(r["modifiers"])
            for q in r["reactants"] + r["products"]:
                self._check_reference(r, q)
            for name in r["modifiers"]:
                if name not in self.species:
                    add(
                        f"the modifier '{name}' is not a species{closest(name, self.species)}",
                        r["line"],
                        r["id"],
                    )
            for name in sorted(references(r["rate"]) - named):
                if name in self.species:
                    message = f"the rate uses the species '{name}', which is no reactant, product or modifier"
                    add(message, r["line"], f"{r['id']}.{name}")

    def _check_reference(self, reaction: dict, q: dict) -> None:
        add, name, line = self.problems.add, q["species"], q["line"]
        s = self.species.get(name)
        if s is None:
            add(f"'{name}' is not a species{closest(name, self.species)}", line, f"{reaction['id']}.{name}")
        elif not s["boundary"]:
            if s["constant"]:
                add(
                    f"the reaction changes '{name}', which is declared constant",
                    line,
                    f"{reaction['id']}.{name}",
                )
            elif name in self.assigned or name in self.rated:
                rule = self.assigned.get(name) or self.rated[name]
                by_rule = f"is changed by a rule (line {rule['line']})"
                message = f"'{name}' {by_rule} and by the reaction '{reaction['id']}'"
                add(message, line, name)
        known = q["id"] and (q["id"] in self.assigned or q["id"] in self.initialised)
        if q["stoichiometry"] is None and not known:
            q["stoichiometry"] = 1.0

    # ---- numbers

    def _values(self) -> None:
        add = self.problems.add
        determined = {**self.assigned, **self.initialised}
        if any(r["rate"] is None for r in self.data["reactions"]):
            # a flux balance alone, in which amounts and sizes do not occur
            determined |= self.compartments | self.species
        used = self._used()
        for c in self.data["compartments"]:
            if c["id"] in determined or c["dimensions"] == 0:
                continue
            if c["size"] is None:
                if self._needs_size(c["id"], used):
                    add("a compartment without a size", c["line"], c["id"])
            elif not 1e-300 < c["size"] < 1e300:
                add(f"the size of a compartment must be above 0 (got {c['size']:g})", c["line"], c["id"])
        for s in self.data["species"]:
            value = s["amount"] if s["amount"] is not None else s["concentration"]
            if s["id"] in determined:
                continue
            if value is None:
                add("a species without an initial amount or concentration", s["line"], s["id"])
            elif value < 0:
                add(
                    f"the initial value of a species must not be negative (got {value:g})", s["line"], s["id"]
                )
        used |= set(self.rated) | self._set_by_events()
        open_ends = bounds_of_draws(tree for tree, _, _ in self._trees())
        for p in self.data["parameters"]:
            if p["id"] in determined or p["id"] not in used:
                continue
            if p["value"] is None:
                add("a parameter without a value", p["line"], p["id"])
            elif not math.isfinite(p["value"]) and not (p["id"] in open_ends and not math.isnan(p["value"])):
                add(f"value must be finite (got {p['value']:g})", p["line"], p["id"])

    def _needs_size(self, compartment: str, used: set[str]) -> bool:
        """Whether the size turns an amount that counts into a concentration, or one into the other."""
        set_by_math = {*self.assigned, *self.rated, *self.initialised} | self._set_by_events()
        within = [s for s in self.data["species"] if s["compartment"] == compartment]
        return compartment in used | set_by_math or any(
            s["concentration"] is not None or (not s["substance_only"] and s["id"] in used | set_by_math)
            for s in within
        )

    def _set_by_events(self) -> set[str]:
        return {a["variable"] for e in self.data["events"] for a in e["assignments"]}

    def _trees(self):
        for r in self.data["reactions"]:
            yield r["rate"], r["line"], r["id"]
            for q in r["reactants"] + r["products"]:
                yield q["stoichiometry"], q["line"], r["id"]
        for rule in self.data["rules"]:
            yield rule["math"], rule["line"], rule["variable"]
        for a in self.data["initial_assignments"]:
            yield a["math"], a["line"], a["symbol"]
        for e in self.data["events"]:
            for part in ("trigger", "delay", "priority"):
                yield e[part], e["line"], e["id"]
            for a in e["assignments"]:
                yield a["math"], a["line"], e["id"]

    def _used(self) -> set[str]:
        """The ids whose values count for something."""
        used = {holder["conversion_factor"] for holder in [self.data, *self.data["species"]]}
        for tree, _, _ in self._trees():
            used |= references(tree)
        return used

    def _math(self) -> None:
        # what an event sets is judged when it fires
        harmless = {e["id"] for e in self.data["events"]}
        # a flux may be without bound
        harmless |= set() if self.data["flux_balance"] is None else self._bounds()
        # what nothing uses may be anything
        harmless |= set(self.parameters) - self._used() - set(self.rated) - self._set_by_events()
        for tree, line, key in self._trees():
            for name in sorted(references(tree)):
                if name not in self.names:
                    hint = closest(name, self.names)
                    self.problems.add(
                        f"'{name}' is used in math but not declared{hint}", line, f"{key}.{name}"
                    )
            if not_finite(without_bounds(tree)) and key not in harmless:
                self.problems.add("math holds an infinite or undefined constant", line, key)

    def _bounds(self) -> set[str]:
        """The ids of parameters that bound fluxes."""
        balance = self.data["flux_balance"]
        ends = [b[end] for b in balance["bounds"] + balance["constraints"] for end in ("lower", "upper")]
        return {end for end in ends if isinstance(end, str)}

    # ---- cycles

    def _cycles(self) -> None:
        fluxes = {name: [r["rate"]] for name, r in self.reactions.items()}
        always = {name: [rule["math"]] for name, rule in self.assigned.items()} | fluxes
        always |= {f"rateOf({name})": [rule["math"]] for name, rule in self.rated.items()}
        self._check_cycle(always, "rules")
        initially = {name: [a["math"]] for name, a in self.initialised.items()}
        if not find_cycle(self._graph(always)):
            self._check_cycle(always | initially, "initial assignments")
            self._past()

    def _past(self) -> None:
        formulas = {name: (rule["math"], rule["line"]) for name, rule in self.assigned.items()}
        formulas |= {name: (a["math"], a["line"]) for name, a in self.initialised.items()}
        formulas |= {name: (r["rate"], r["line"]) for name, r in self.reactions.items()}
        if not find_cycle({name: sorted(references(math)) for name, (math, _) in formulas.items()}):
            refuse_too_many(formulas, self.problems)

    def _check_cycle(self, determined: dict[str, list], what: str) -> None:
        cycle = find_cycle(self._graph(determined))
        if cycle is None:
            return
        if len(cycle) > 12:
            shown = f"{' -> '.join(cycle[:11])} -> ... -> {cycle[-1]} ({len(cycle) - 1} ids)"
        else:
            shown = " -> ".join(cycle)
        plain = next(
            (c for c in cycle if c in self.names), cycle[0].removeprefix("rateOf(").removesuffix(")")
        )
        rule = (
            self.assigned.get(plain)
            or self.rated.get(plain)
            or self.initialised.get(plain)
            or self.names.get(plain)
        )
        line = rule["line"] if rule else None
        self.problems.add(f"{what} determine each other in a circle: {shown}", line, cycle[0])

    def _graph(self, determined: dict[str, list]) -> dict[str, list[str]]:
        graph = {}
        waiting = list(determined.items())
        while waiting:
            name, trees = waiting.pop()
            uses: set[str] = set()
            for tree in trees:
                uses |= references(tree)
                for target in rates_of(tree):
                    node = f"rateOf({target})"
                    uses.add(node)
                    uses.discard(target)
                    if node not in graph:
                        graph[node] = []
                        waiting.append((node, self._rate_trees(target)))
            uses |= {self.species[u]["compartment"] for u in uses if u in self.species}
            graph[name] = sorted(uses)
        return dict(reversed(graph.items()))

    def _rate_trees(self, target: str) -> list:
        if target in self.rated:
            return [self.rated[target]["math"]]
        return [
            r["rate"]
            for r in self.data["reactions"]
            if any(q["species"] == target for q in r["reactants"] + r["products"])
        ]


def rates_of(tree) -> set[str]:
    """The ids whose rate of change `tree` uses."""
    found: set[str] = set()
    waiting = [tree]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            if part[0] == "rateOf":
                found.add(part[1])
            waiting.extend(part[1:])
    return found


def not_finite(tree) -> bool:
    """Whether a constant of `tree` is infinite or no number."""
    waiting = [tree]
    while waiting:
        part = waiting.pop()
        if isinstance(part, float) and not abs(part) < float("inf"):
            return True
        if isinstance(part, list):
            waiting.extend(part[1:])
    return False
