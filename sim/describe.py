"""A scenario in words: processes, quantities, couplings, conversions."""

from __future__ import annotations

from sim.build import Plan


def described(plan: Plan) -> str:
    """The plan as text, for `cellweave describe`."""
    scenario = plan.scenario
    time = scenario.time
    lines = [
        scenario.name,
        f"  until {time.stop}, saved every {time.save_every}; "
        f"coupling step {plan.step:g} min, {time.splitting} splitting",
        "",
        "cells",
    ]
    lines += [
        f"  {name}: {len(plan.places[name]) if name in plan.places else c.number} cells"
        for name, c in scenario.cells.items()
    ]
    lines += ["", "processes (kind, longest step)"]
    for p in plan.processes:
        lines.append(f"  {p.name} ({p.kind}, {max(p.step, plan.step):g} min)")
        for role, quantities in (("has", p.states), ("takes", p.inputs), ("shows", p.readouts)):
            names = [_named(q) for q in quantities if role != "takes" or _is_driven(plan, q.name)]
            if names:
                lines.append(f"    {role}: {_short(names)}")
    lines += ["", "couplings"]
    for c in plan.couplings:
        how = f"{c.mode}, {c.response.label}" + (f", times {c.factor:g}" if c.factor != 1 else "")
        lines.append(f"  {c.source} → {c.target}  ({how})")
    if plan.perturbations:
        lines += ["", "perturbations"]
        lines += [
            f"  at {', '.join(f'{t:g}' for t in p.times[:5])} min: {p.text}" for p in plan.perturbations
        ]
    if plan.notes:
        lines += ["", "conversions and choices", *(f"  {note}" for note in plan.notes)]
    return "\n".join(lines)


def _is_driven(plan: Plan, name: str) -> bool:
    return any(c.target == name for c in plan.couplings) or any(p.target == name for p in plan.perturbations)


def _named(q) -> str:
    width = f" ({q.width})" if q.width else ""
    return f"{q.name}{width}" + (f" [{q.unit}]" if q.unit not in ("1", "") else "")


def _short(names: list[str], most: int = 12) -> str:
    shown = ", ".join(names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
