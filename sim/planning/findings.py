"""What planning finds: faults with their place in the scenario, notes for the user, hashes of the files read."""

from __future__ import annotations

import hashlib
from pathlib import PurePath
from typing import TYPE_CHECKING

from sim.errors import Problem, ScenarioError

if TYPE_CHECKING:
    from pathlib import Path

    from mechanistic.network import ReactionNetwork
    from neural.weights import Card
    from sim.scenario import Scenario

KeyPath = tuple[str | int, ...]


class Findings:
    """Collects over one pass, so that all faults are told together.

    Attributes:
        scenario: what is planned.
        types: names of its cell types, in the order of their codes.
        notes: conversions and choices, for people.
        hashes: sha256 of each model and weights file by its name in the scenario.
    """

    def __init__(self, scenario: Scenario):
        self.scenario = scenario
        self.types = tuple(scenario.cells)
        self.notes: list[str] = []
        self.hashes: dict[str, str] = {}
        self._faults: list[Problem] = []

    def fault(self, key: KeyPath, message: str) -> None:
        self._faults.append(self.scenario.problem(key, message))

    def stop_at_faults(self, kind: type[ScenarioError] = ScenarioError) -> None:
        """Raise everything found so far, in file order."""
        if self._faults:
            raise kind(sorted(self._faults, key=lambda p: p.line or 0))

    def network(self, name: str) -> ReactionNetwork | None:
        """The model of pathway `name`, or None with its faults noted."""
        from mechanistic.errors import ModelError
        from mechanistic.sbml import read_network

        key, model = ("pathways", name, "model"), self.scenario.pathways[name].model
        path = self.scenario.resolve(key, model)
        try:
            network = read_network(path)
            for reaction in network.reaction_ids:
                network.rate_law(reaction)
        except ModelError as error:
            for p in error.problems:
                place = f"{path.name}:{p.line}" if p.line else path.name
                self.fault(key, ": ".join(filter(None, (place, p.key, p.message))))
            return None
        self._hash(model, path.read_bytes())
        return network

    def card(self, key: KeyPath, weights: str | None, *kinds: str) -> Card | None:
        """The card of a weights file of one of the given kinds, or None with its faults noted."""
        from neural.errors import WeightsError
        from neural.weights import read_card

        if weights is None:
            return None
        path = self.scenario.resolve(key, weights)
        try:
            card = read_card(path)
        except WeightsError as error:
            self.fault(key, error.message)
            return None
        if card.kind not in kinds:
            self.fault(key, f"these are weights of a {card.kind}, a {' or a '.join(kinds)} is needed here")
            return None
        self._hash(weights, path.read_bytes())
        return card

    def shown(self, name: str) -> str:
        """A file that the scenario names, as its user would write it."""
        return str(PurePath(self.scenario.file).parent / name)

    def note_file(self, name: str, path: Path) -> None:
        """Remember the hash of a file that was read, by its name in the scenario."""
        self._hash(name, path.read_bytes())

    def code(self, type_name: str) -> int:
        return self.types.index(type_name)

    def codes(self, names: tuple[str, ...] | None) -> frozenset[int] | None:
        """Codes of cell types, None for all."""
        return None if names is None else frozenset(map(self.code, names))

    def _hash(self, name: str, content: bytes) -> None:
        self.hashes[name] = hashlib.sha256(content).hexdigest()
