"""Where a network joins a pathway, as plain data: what it reads, and what its outputs are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mechanistic.parts import Tree

if TYPE_CHECKING:
    from neural.sciml import Description


@dataclass(frozen=True)
class Rate:
    """The output is the rate of a reaction: whatever the network says, amounts change by this column alone.

    Attributes:
        stoichiometry: species -> what one extent adds to its amount. Empty where `instead_of` is given.
        times: ids that the output is multiplied by: with the reactants among them no amount falls below 0.
        instead_of: a reaction of the model whose rate law the output replaces; its stoichiometry stays.

    The output is a concentration per time in the compartment of the first species (of the reaction's first
    reactant or product), so that it does not depend on the compartment's size.
    """

    stoichiometry: Mapping[str, float] = field(default_factory=dict)
    times: tuple[str, ...] = ()
    instead_of: str | None = None


@dataclass(frozen=True)
class Sets:
    """The output is a parameter of the model, at all times."""

    parameter: str


@dataclass(frozen=True)
class Gives:
    """The output is a new quantity of this name, such as what is observed."""

    quantity: str


@dataclass(frozen=True)
class Starts:
    """The output is a parameter, or the initial concentration of a species: computed once, before the simulation."""

    id: str


@dataclass(frozen=True)
class Changes:
    """The output is how fast a new quantity of this name changes, which begins with `start`: an unknown species."""

    quantity: str
    start: float = 0.0


Target = Rate | Sets | Gives | Starts | Changes


@dataclass(frozen=True)
class Joint:
    """A network in a pathway.

    Attributes:
        name: of the network; its weights and units are called `<name>__...`.
        inputs: what it reads: ids of the model, "time", formulas as trees; for a network that acts before the
            simulation the shape of the array that it is given.
        to: what its outputs are, one target for each.
        network: its layers; a dense one of `widths` with `activation` where None.
        positive: whether outputs are kept above 0, by softplus.
        input_scales: what each input is divided by; output_scales: what each output is multiplied by.
        seed: of the initial weights.
    """

    name: str
    inputs: tuple[Any, ...]
    to: Target | tuple[Target, ...]
    network: Description | None = None
    widths: tuple[int, ...] = (5,)
    activation: str = "tanh"
    positive: bool = False
    input_scales: tuple[float, ...] = ()
    output_scales: tuple[float, ...] = ()
    seed: int = 0

    @property
    def targets(self) -> tuple[Target, ...]:
        return self.to if isinstance(self.to, tuple) else (self.to,)

    @property
    def before(self) -> bool:
        """Whether it acts before the simulation."""
        return any(isinstance(t, Starts) for t in self.targets)

    def description(self) -> Description:
        """The network's layers."""
        if self.network is not None:
            return self.network
        from neural.sciml import dense

        return dense(self.name, len(self.inputs), self.widths, len(self.targets), self.activation)

    def formulas(self) -> list[Tree]:
        """The inputs as trees, scaled."""
        trees: list[Tree] = [["time"] if i == "time" else i for i in self.inputs]
        if not self.input_scales:
            return trees
        return [tree if s == 1.0 else ["/", tree, float(s)] for tree, s in zip(trees, self.input_scales)]
