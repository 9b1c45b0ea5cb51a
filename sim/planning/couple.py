"""Couplings of a scenario, those it implies, the conversion of their units, and the check of the wiring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sim.core import wiring
from sim.core.coupling import Coupling, Hill, Identity, Linear, Mode, Response, Table, Towards
from sim.core.process import Process
from sim.core.quantity import Quantity, aggregate_of, component_of
from sim.perturbations import Perturbation
from sim.planning.findings import KeyPath
from sim.planning.model_units import any_unit
from sim.processes.manipulator import ManipulatorProcess
from sim.processes.pathway import PathwayProcess
from sim.scenario.units import UnitError
from sim.spelling import did_you_mean

if TYPE_CHECKING:
    from neural.weights import Card
    from sim.planning.findings import Findings


class Coupler:
    """Makes couplings and checks what they and the perturbations reach.

    Attributes:
        couplings: those of the scenario in its order, then conditions and messages of manipulators.
        keys: where in the scenario each comes from, by its index.
    """

    def __init__(self, findings: Findings, processes: Sequence[Process]):
        self._findings = findings
        self._processes = processes
        self._known: Mapping[str, Quantity] = {q.name: q for p in processes for q in p.quantities}
        self.couplings: list[Coupling] = []
        self.keys: list[KeyPath] = []
        self._lines: dict[int, str] = {}  # file and line of the rules that came from a table

    def couple(self, tissue: Card | None) -> None:
        """Add every coupling, stated or implied."""
        for index, c in enumerate(self._findings.scenario.couplings):
            key: KeyPath = ("couplings", index)
            factor, response = self._response(key, c)
            self._add(key, c.source, c.target, response, c.mode, self._findings.codes(c.cells), factor)
        self._rule()
        for m in self._processes:
            if isinstance(m, ManipulatorProcess):
                self._couple_manipulator(m, tissue)

    def check(self, perturbations: Sequence[Perturbation]) -> None:
        """Note every fault of the wiring and of what perturbations reach."""
        for fault in wiring.check(self._processes, self.couplings, self._findings.types):
            key = self.keys[fault.coupling] if fault.coupling is not None else ()
            if key[:1] == ("couplings",) and fault.side:
                key = (*key, fault.side)
            elif key[:1] == ("rules",) and len(key) == 2 and fault.side:
                rule = self._findings.scenario.rules[int(key[1])]
                key = (*key, "file" if rule.file else "signal" if fault.side == "from" else rule.verb)
            line = self._lines.get(fault.coupling) if fault.coupling is not None else None
            self._findings.fault(key, f"{line}: {fault.message}" if line else fault.message)
        for p in perturbations:
            self._check_perturbation(p)

    # ---- couplings

    def _add(
        self,
        key: KeyPath,
        source: str,
        target: str,
        response: Response,
        mode: Mode = "set",
        types: frozenset[int] | None = None,
        factor: float = 1.0,
        dead: bool = True,
    ) -> None:
        index = len(self.couplings)
        self.couplings.append(Coupling(source, target, response, mode, types, factor, index, dead))
        self.keys.append(key)

    def _rule(self) -> None:
        """Add the rules, in the order of the scenario and of the files it names."""
        for index, r in enumerate(self._findings.scenario.rules):
            key: KeyPath = ("rules", index)
            if r.file is not None:
                self._rules_of_file(key, r.file)
                continue
            half_max = self._half_max((*key, "half_max"), r.half_max, r.signal or "")
            to = self._half_max((*key, "to"), r.to, r.behaviour)
            mode: Mode = "increase" if r.verb == "increases" else "decrease"
            response = Towards(to, half_max, float(r.power))
            self._add_rule(
                key, r.signal or "", r.behaviour, response, mode, self._findings.codes(r.cells), r.dead
            )

    def _rules_of_file(self, key: KeyPath, file: str) -> None:
        from sim.planning.rules import Vocabulary, read_rules

        scenario = self._findings.scenario
        phases = {n: list(c.cycle.programme) if c.cycle else [] for n, c in scenario.cells.items()}
        path = scenario.resolve((*key, "file"), file)
        self._findings.note_file(file, path)
        for row in read_rules(
            path, self._findings.shown(file), Vocabulary.of(list(scenario.space.fields), phases)
        ):
            types = frozenset({self._findings.code(row.cells)})
            target = self._known.get(row.behaviour)
            if row.base is not None and target is not None:
                own = target.by_type.get(self._findings.code(row.cells), target.default)
                if abs(own - row.base) > 1e-9 * max(abs(own), abs(row.base)):
                    self._findings.notes.append(
                        f"{file}:{row.line}: {row.behaviour} of {row.cells} is {own:g} without signal, as the scenario "
                        f"says; the table's base value {row.base:g} is not used"
                    )
            mode: Mode = "increase" if row.rises else "decrease"
            response = Towards(row.to, row.half_max, row.power)
            self._lines[len(self.couplings)] = f"{file}:{row.line}"
            self._add_rule(key, row.signal, row.behaviour, response, mode, types, row.dead)

    def _add_rule(
        self,
        key: KeyPath,
        signal: str,
        behaviour: str,
        response: Towards,
        mode: Mode,
        types: frozenset[int] | None,
        dead: bool,
    ) -> None:
        line = self._lines.get(len(self.couplings))
        where = f"{line}: " if line else ""
        for c in self.couplings:
            if c.target != behaviour or c.mode != mode or not wiring.overlap(c.types, types):
                continue
            assert isinstance(c.response, Towards)
            if c.response.to != response.to:
                self._findings.fault(
                    key,
                    f"{where}{behaviour} is to {mode} to {response.to:g} with {signal} but to {c.response.to:g} with "
                    f"{c.source}; rules of one direction share their saturation value",
                )
            elif c.source == signal:
                self._findings.fault(key, f"{where}{signal} is said to {mode} {behaviour} twice; remove one")
        self._add(key, signal, behaviour, response, mode, types, 1.0, dead)

    def _couple_manipulator(self, m: ManipulatorProcess, tissue: Card | None) -> None:
        name = m.settings.name
        for condition, source in self._findings.scenario.manipulators[name].conditions.items():
            key = ("manipulators", name, "conditions", condition)
            target = f"condition.{condition}"
            self._add(key, source, target, Identity(), factor=self._factor(key, source, target))
        for message in m.message_names:
            if tissue is not None and message in tissue.message_names:
                self._add(("tissue",), f"tissue.{message}", f"message.{message}", Identity())
            else:
                self._findings.notes.append(f"manipulator.{name}: nobody sends message.{message}; it stays 0")

    def _response(self, key: KeyPath, c: Any) -> tuple[float, Response]:
        """Unit factor and response of one stated coupling."""
        if c.linear is not None:
            return 1.0, Linear(float(c.linear.slope), float(c.linear.intercept))
        if c.hill is not None:
            h = c.hill
            return 1.0, Hill(
                self._half_max((*key, "hill", "half_max"), h.half_max, c.source),
                float(h.power),
                float(h.low),
                float(h.high),
                h.falling,
            )
        if c.table is not None:
            return 1.0, Table(tuple(map(float, c.table.x)), tuple(map(float, c.table.y)))
        if c.network is not None:
            from sim.planning.responses import NetworkResponse

            where = (*key, "network", "weights")
            self._findings.card(where, c.network.weights, "network")
            return 1.0, NetworkResponse(self._findings.scenario.resolve(where, c.network.weights))
        return (1.0 if c.mode == "scale" else self._factor((*key, "to"), c.source, c.target)), Identity()

    # ---- units

    def _unit_of(self, name: str) -> str | None:
        """Unit text of a quantity or of what an aggregate is over; None where unknown."""
        aggregate = aggregate_of(name)
        if aggregate:
            return "1" if aggregate.how == "count" else self._unit_of(aggregate.of)
        part = component_of(name)
        quantity = self._known.get(part[0] if part else name)
        return quantity.unit if quantity else None

    def _half_max(self, key: KeyPath, value: Any, source: str) -> float:
        """The half-maximal value in the source's unit; a bare number is in it already."""
        written, wanted = getattr(value, "unit", ""), self._unit_of(source)
        if not written or not wanted:
            return float(getattr(value, "written", value))
        try:
            given, target = any_unit(written), any_unit(wanted)
        except UnitError:
            self._findings.notes.append(f"{source}: {value} is taken as it is, in {wanted}")
            return float(value.written)
        if given.exponents != target.exponents:
            self._findings.fault(key, f"{source} is in {wanted}, which {written} cannot be turned into")
        return float(value.written * float(given.factor / target.factor))

    def _factor(self, key: KeyPath, source: str, target: str) -> float:
        """What turns the source's unit into the target's; a fault where the dimensions differ."""
        have, want = self._unit_of(source), self._unit_of(target)
        if have is None or want is None or have == want:
            return 1.0
        if not have or not want:
            silent = source if not have else target
            self._findings.notes.append(
                f"{source} → {target}: {silent} has no unit in its model; taken as it is"
            )
            return 1.0
        try:
            given, wanted = any_unit(have), any_unit(want)
        except UnitError:
            self._findings.notes.append(f"{source} → {target}: units {have} and {want} are taken as they are")
            return 1.0
        if given.exponents != wanted.exponents:
            fix = "give a response (linear, hill) that converts it"
            self._findings.fault(key, f"'{source}' is in {have} but '{target}' takes {want}; {fix}")
            return 1.0
        factor = float(given.factor / wanted.factor)
        if factor != 1.0:
            self._findings.notes.append(f"{source} → {target}: {have} to {want}, times {factor:g}")
        return factor

    # ---- perturbations

    def _check_perturbation(self, p: Perturbation) -> None:
        if p.verb == "kill":
            return
        key: KeyPath = ("perturbations", p.index, p.verb)
        part = component_of(p.target)
        quantity = self._known.get(part[0] if part else p.target)
        if quantity is None:
            self._findings.fault(key, f"no quantity '{p.target}'{did_you_mean(p.target, self._known)}")
        elif quantity.role == "readout" and not self._is_changeable(quantity.name):
            self._findings.fault(key, f"'{p.target}' follows from others and cannot be {p.verb}")
        elif quantity.width and not part:
            self._findings.fault(
                key, f"'{p.target}' has {quantity.width} parts; name one, such as {p.target}[0]"
            )

    def _is_changeable(self, name: str) -> bool:
        """Fields and species are shown as readouts, yet a perturbation may change them."""
        if name.startswith("field."):
            return True
        owner, _, species = name.rpartition(".")
        return any(
            isinstance(p, PathwayProcess) and p.name == owner and species in p.network.state_ids
            for p in self._processes
        )
