"""Parameter estimation problems in PEtab 1 and 2 (https://petab.readthedocs.io), read into `sim.fitting`.

    from sim.petab import load
    problem = load("Boehm.yaml")
    found = problem.objective(slopes=True)

`load(..., transform=, more=)` lets a problem carry a network: `transform` takes the `ReactionNetwork` of a model and
returns one with the network's term in it, `more` are the parameters that this adds (ids such as
"net.layer1.weight[0,3]", at the same ids in the model). What a network computes before a simulation is put in front
by `sim.fitting.computed.Computed`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sim.petab.problem import PetabProblem, load

__all__ = ["PetabProblem", "load"]


def __getattr__(name: str) -> Any:
    # loaded when first asked for: petab takes seconds to import
    if name in __all__:
        from sim.petab import problem

        return getattr(problem, name)
    raise AttributeError(f"module 'sim.petab' has no attribute '{name}'")
