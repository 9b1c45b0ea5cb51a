"""How much of a network the measurements support: the one asked for, or a simpler one in its place.

A network that reads everything may explain a few courses by the wrong inputs, and foretell badly. Beside it, each of
its inputs is tried alone, first in a linear law, then in a network of the same widths; what has the most evidence is
kept (`sim.fitting.evidence`). Nothing but the measurements that are fitted is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mechanistic import PathwayModel
from mechanistic.errors import IntegrationError
from mechanistic.network import ReactionNetwork
from sim.fitting import scales
from sim.fitting.evidence import ByEvidence, fit_by_evidence
from sim.fitting.objective import Objective
from sim.hybrid.joint import Joint
from sim.hybrid.system import Hybrid
from sim.hybrid.term import names_of

_SIZES = (0.3, 0.1, 1.0)  # of the weights to start from: the smaller, the nearer the pathway without them
_AROUND = (
    0.2  # how far other parameters start from their nominal values on their scales, but for the first start
)
_CLOSER = 2  # how many inputs alone are given a network


@dataclass(frozen=True)
class Selected:
    """The fit of the most evidence.

    Attributes:
        hybrid: with its weights.
        objective: of which it is a fit; values: of all its parameters.
        found: the fit.
        tried: what was tried, with the logarithm of its evidence, the best first.
    """

    hybrid: Hybrid
    objective: Objective
    values: dict[str, float]
    found: ByEvidence
    tried: tuple[tuple[str, float], ...]


def select(
    pathway: PathwayModel | ReactionNetwork,
    joints: Sequence[Joint],
    objective_of: Callable[[Hybrid], Objective],
    *,
    starts: int = 3,
    seed: int = 0,
    simpler: bool = True,
    deviation: float = 1.0,
    most: int = 100,
    rounds: int = 8,
    say: Callable[[str, float], None] = lambda _what, _evidence: None,
) -> Selected:
    """The networks of `joints` or simpler ones, fitted.

    Args:
        objective_of: of a hybrid of these joints.
        starts: of each fit with all inputs; inputs alone get at most two.
        seed: of the weights and of what they start beside.
        simpler: whether inputs alone are tried too.
        deviation, most, rounds: as `fit_by_evidence` takes them.
        say: told of every fit.

    Raises:
        IntegrationError: no start gave a course.
    """
    fits: list[tuple[str, Selected]] = []

    def tried(what: str, joints: Sequence[Joint], k: int, given: Mapping[str, float] | None = None) -> None:
        hybrid = Hybrid(pathway, [replace(j, seed=seed + k) for j in joints])
        objective = objective_of(hybrid)
        groups = [g for name in hybrid.inlined for g in hybrid.weight_groups(name).values()]
        start = _start(objective, {w for g in groups for w in g}, k, seed, given or {})
        try:
            found = fit_by_evidence(
                objective, groups, start=start, rounds=rounds, most=most, deviation=deviation
            )
        except IntegrationError:
            return
        values = {p.id: float(v) for p, v in zip(objective.parameters, objective.values(found.fit.x))}
        fitted = hybrid.with_weights(hybrid.taken(values))
        fits.append((what, Selected(fitted, objective, values, found, ())))
        say(what, found.evidence)

    alone = _alone(joints) if simpler else []
    for what, _, rest in alone:
        for k in range(min(2, starts)):
            tried(f"{what}, linear", rest, k)
    fits.sort(key=lambda fit: -fit[1].found.evidence)
    linear = {}
    for what, fit in fits:
        linear.setdefault(what, fit)
    for name, fit in list(linear.items())[:_CLOSER]:
        what, own, rest = next(a for a in alone if name == f"{a[0]}, linear")
        if joints[own].widths:
            wider = [replace(j, widths=joints[own].widths) if k == own else j for k, j in enumerate(rest)]
            tried(what, wider, 0, fit.values)
    for k in range(starts):
        tried("all inputs", joints, k)
    if fits and alone:
        tried("all inputs", joints, 0, max((f for _, f in fits), key=lambda f: f.found.evidence).values)
    if not fits:
        raise IntegrationError("no start gave a course; scale the outputs of the networks down")
    fits.sort(key=lambda fit: -fit[1].found.evidence)
    evidence: dict[str, float] = {}
    for what, fit in fits:
        evidence.setdefault(what, fit.found.evidence)
    return replace(fits[0][1], tried=tuple(evidence.items()))


def fits(joints: Sequence[Joint], starts: int, simpler: bool = True) -> int:
    """How many fits `select` makes at most."""
    alone = len(_alone(joints)) if simpler else 0
    return alone * min(2, starts) + min(alone, _CLOSER) + starts + (alone > 0)


def _alone(joints: Sequence[Joint]) -> list[tuple[str, int, list[Joint]]]:
    """Each input alone in a linear law: what that is, of which joint, and all joints then."""
    found = []
    for own, joint in enumerate(joints):
        if joint.network is None and not joint.before:
            for i, name in enumerate(names_of(joint.inputs)):
                rest = [_of_one(j, i) if k == own else j for k, j in enumerate(joints)]
                found.append((f"{joint.name} of {name} alone", own, rest))
    return found


def _of_one(joint: Joint, i: int) -> Joint:
    """A linear law of the i-th input."""
    return replace(
        joint, inputs=joint.inputs[i : i + 1], input_scales=joint.input_scales[i : i + 1], widths=()
    )


def _start(
    objective: Objective, weights: set[str], k: int, seed: int, given: Mapping[str, float]
) -> np.ndarray:
    """Scaled values to start from: small weights, the rest nominal or, after the first start, around that."""
    rng = np.random.default_rng([seed, k])
    nominal = np.array([given.get(name, np.nan) for name in objective.names])
    x = scales.scaled(nominal, objective.scales)
    for i, name in enumerate(objective.names):
        if name in weights:
            x[i] = _SIZES[k % len(_SIZES)] * objective.nominal[i]
        elif name not in given:
            x[i] = objective.nominal[i] + (_AROUND * rng.normal() if k else 0.0)
    return np.clip(x, objective.lower, objective.upper)
