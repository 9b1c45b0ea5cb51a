"""Names of quantities with one value per cell, looked up among those that the processes have."""

from __future__ import annotations

from collections.abc import Mapping

from sim.core.quantity import Quantity, aggregate_of, component_of
from sim.spelling import did_you_mean


def fault_of(name: str, known: Mapping[str, Quantity]) -> str | None:
    """What is wrong with reading `name` in every cell, or None."""
    aggregate = aggregate_of(name)
    if aggregate and aggregate.how == "count":
        return None
    plain = aggregate.of if aggregate else name
    part = component_of(plain)
    quantity = known.get(part[0] if part else plain)
    if quantity is None:
        return f"no quantity '{plain}'{did_you_mean(plain, known)}"
    if part and part[1] >= quantity.width:
        return f"the last index of {part[0]} is {quantity.width - 1}"
    if quantity.width and not part:
        return f"'{plain}' has {quantity.width} parts; name one, such as {plain}[0]"
    return None


def unit_of(name: str, known: Mapping[str, Quantity]) -> str:
    """Its unit; "1" where it has none."""
    aggregate = aggregate_of(name)
    if aggregate and aggregate.how == "count":
        return "1"
    plain = aggregate.of if aggregate else name
    part = component_of(plain)
    quantity = known.get(part[0] if part else plain)
    return (quantity.unit if quantity else "") or "1"
