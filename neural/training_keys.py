"""What training files may hold: the keys of each kind, and how they are checked. Light: no torch, no NumPy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

Problems = list[tuple[int | None, str | None, str]]


@dataclass(frozen=True)
class Key:
    """What a key of a training file may hold. `low` is the smallest number allowed; `of` what each entry must be."""

    types: tuple[type, ...]
    required: bool = True
    low: float | None = None
    above: float | None = None
    keys: dict[str, Key] | None = None
    of: Key | None = None
    one_of: tuple[str, ...] = ()


_NUMBER = (int, float)
NAMES = Key((list,), of=Key((str,)))
SEEDS = Key((list,), of=Key((int,), low=0))
#: what training files of all kinds hold
COMMON = {
    "training": Key((int,), low=1),
    "kind": Key((str,)),
    "name": Key((str,)),
    "output": Key((str,), required=False),
    "notes": replace(NAMES, required=False),
}
# a table of measurements: CSV, npz (its arrays by name) or AnnData
_TABLE = Key(
    (dict,),
    keys={
        "path": Key((str,)),
        "values": Key((str,), required=False),
        "labels": Key((str,), required=False),
        "descriptions": Key((str,), required=False),
    },
)
SCHEMA: dict[str, dict[str, Key]] = {
    "manipulator": {
        **COMMON,
        "data": Key(
            (dict,),
            keys={
                "path": Key((str,)),
                "replicates": Key((int,), low=1),
                "in_use": replace(NAMES, required=False),
            },
        ),
        "drugs": Key((dict,)),
        "space": Key((dict,), keys={"name": Key((str,)), "components": Key((list,))}),
        "architecture": Key(
            (dict,),
            required=False,
            keys={
                "hidden": Key((int,), required=False, low=1),
                "residual": Key(_NUMBER, required=False, low=0),
                "step": Key(_NUMBER, required=False, above=0),
                "power": Key(_NUMBER, required=False, low=1),
                "monolayer": Key(
                    (dict,),
                    required=False,
                    keys={n: Key(_NUMBER, required=False, low=0) for n in ("clustering", "overlap")},
                ),
            },
        ),
        "fit": Key(
            (dict,),
            required=False,
            keys={
                "folds": Key((int,), required=False, low=2),
                "seed": Key((int,), required=False, low=0),
                "iterations": Key((int,), required=False, low=20),
                "rate": Key(_NUMBER, required=False, above=0),
                "frames_worth": Key(_NUMBER, required=False, above=0),
                "day_to_day": Key(_NUMBER, required=False, above=0),
                "taught": Key(_NUMBER, required=False, low=0),
                "drug_background": Key(_NUMBER, required=False, above=0),
                "drift": Key(_NUMBER, required=False, above=0),
            },
        ),
    },
    "transport": {
        **COMMON,
        "data": _TABLE,
        "time": Key((str,)),
        "time_unit": Key((str,), required=False, one_of=("min", "h", "day")),
        "space": Key(
            (dict,),
            keys={
                "name": Key((str,)),
                "components": Key((int,), required=False, low=1),
                "embedding": Key((str,), required=False),
                "features": replace(NAMES, required=False),
                "conserved": Key((list,), required=False, of=NAMES),
            },
        ),
        "architecture": Key(
            (dict,),
            required=False,
            keys={"hidden": Key((int,), required=False, low=1), "layers": Key((int,), required=False, low=1)},
        ),
        "fit": Key(
            (dict,),
            required=False,
            keys={
                "seed": Key((int,), required=False, low=0),
                "iterations": Key((int,), required=False, low=1),
                "fine_tuning": Key((int,), required=False, low=0),
                "rate": Key(_NUMBER, required=False, above=0),
            },
        ),
    },
    "perturbation": {
        **COMMON,
        "data": _TABLE,
        "drugs": replace(NAMES, required=False),
        "responses": replace(NAMES, required=False),
        "unit": Key((str,), required=False),
    },
    "traces": {
        **COMMON,
        "data": _TABLE,
        "track": Key((str,), required=False),
        "time": Key((str,), required=False),
        "treatment": Key((str,), required=False),
        "channels": replace(NAMES, required=False),
        "given": Key((int,), low=1),
        "frames": Key((int,), required=False, low=2),
        "frame": Key(_NUMBER, required=False, above=0),
        "fit": Key((dict,), required=False, keys={"seed": Key((int,), required=False, low=0)}),
    },
    "representation": {
        **COMMON,
        "data": Key((dict,), keys={"path": Key((str,))}),
        "scale": Key((str,), required=False),
        "method": Key((str,), required=False),
        "space": Key(
            (dict,),
            keys={
                "name": Key((str,)),
                "components": Key((int,), low=1),
                "states": Key((str,), required=False),
            },
        ),
        "modalities": Key((dict,)),
        "graph": Key(
            (dict,),
            required=False,
            keys={
                "positions": Key((str, list)),
                "radius": Key(_NUMBER, above=0),
                "hops": Key((int,), required=False, low=1),
            },
        ),
        "fit": Key(
            (dict,),
            required=False,
            keys={
                "seed": Key((int,), required=False, low=0),
                "hold_out": Key(_NUMBER, required=False, above=0),
                "hold_out_by": Key((str,), required=False),
                "hidden": Key((int,), required=False, low=1),
                "layers": Key((int,), required=False, low=1),
                "epochs": Key((int,), required=False, low=1),
                "rate": Key(_NUMBER, required=False, above=0),
            },
        ),
    },
    "tissue": {
        **COMMON,
        "radius": Key(_NUMBER, above=0),
        "cell_radius": Key(_NUMBER, above=0),
        "layers": Key((dict,), keys={p: Key((int,), low=1) for p in ("train", "check", "test")}),
        "architecture": Key((dict,), keys={"hidden": Key((int,), low=1)}),
        "fit": Key((dict,), keys={"seed": Key((int,), low=0), "iterations": Key((int,), low=20)}),
    },
    "niche": {
        **COMMON,
        "data": _TABLE,
        "columns": Key((dict,), False, keys={k: Key((str,), False) for k in ("type", "region", "x", "y")}),
        "scale": Key(_NUMBER, required=False, above=0),
        "leave_out": replace(NAMES, required=False),
        "radius": Key(_NUMBER, above=0),
        "near": Key(_NUMBER, required=False, above=0),
        "fit": Key(
            (dict,),
            required=False,
            keys={
                "seed": Key((int,), False, low=0),
                "folds": Key((int,), False, low=3),
                "block": Key(_NUMBER, False, above=0),
            },
        ),
    },
    "law": {
        **COMMON,
        "data": replace(_TABLE, required=False),
        "simulated": Key(
            (dict,),
            required=False,
            keys={
                "scenario": Key((str,)),
                "set": Key((dict,), required=False),
                "seeds": SEEDS,
                "held_out": Key((dict,), False, keys={"set": Key((dict,), False), "seeds": SEEDS}),
            },
        ),
        "held_out": Key((dict,), required=False, keys={"path": Key((str,))}),
        "truth": Key((dict,), required=False),
        "unit": Key((str,), required=False),
        "signals": NAMES,
        "quantities": Key((dict,), required=False),
        "radius": Key(_NUMBER, above=0),
        "dims": Key((int,), required=False, low=2),
        "mean": Key((int,), required=False, low=0),
        "by_distance": Key((int,), required=False, low=0),
        "itself": Key((int,), required=False, low=0),
        "fit": Key(
            (dict,),
            required=False,
            keys={"seed": Key((int,), False, low=0), "hold_out": Key(_NUMBER, False, above=0)},
        ),
    },
}


def check(value: Any, keys: dict[str, Key], at: str, lines: dict[str, int], problems: Problems) -> None:
    def name(key: str) -> str:
        return f"{at}.{key}".lstrip(".")

    for key in value:
        if key not in keys:
            close = get_close_matches(key, keys, 1, 0.6)
            hint = f"; did you mean '{close[0]}'?" if close else f"; allowed: {', '.join(keys)}"
            problems.append((lines.get(name(key)), name(key), f"unknown key '{key}'{hint}"))
    for key, rule in keys.items():
        if key not in value:
            if rule.required:
                problems.append((lines.get(at or "", 1), name(key), "is missing"))
            continue
        _check_one(value[key], rule, name(key), lines, problems)


def _check_one(got: Any, rule: Key, at: str, lines: dict[str, int], problems: Problems) -> None:
    if (fault := _fault(got, rule)) is not None:
        problems.append((lines.get(at), at, fault))
        return
    if rule.keys is not None:
        check(got, rule.keys, at, lines, problems)
    if rule.of is not None:
        named = isinstance(got, dict)
        for entry, held in got.items() if named else enumerate(got):
            _check_one(held, rule.of, f"{at}.{entry}" if named else f"{at}[{entry}]", lines, problems)


def _fault(got: Any, rule: Key) -> str | None:
    """What is wrong with a value by itself."""
    if isinstance(got, bool) != (bool in rule.types) or not isinstance(got, rule.types):
        words = {str: "text", dict: "a mapping", list: "a list", bool: "true or false"}
        return f"must be {words.get(rule.types[0], 'a number')} (got {got!r})"
    if rule.low is not None and not rule.low <= got < float("inf"):
        return f"must be at least {rule.low:g} (got {got!r})"
    if rule.above is not None and not rule.above < got < float("inf"):
        return f"must be above {rule.above:g} (got {got!r})"
    if rule.one_of and got not in rule.one_of:
        return f"must be one of {', '.join(rule.one_of)} (got {got!r})"
    return None


def check_manipulator(spec: dict[str, Any], lines: dict[str, int], problems: Problems) -> None:
    drugs, space = spec.get("drugs"), spec.get("space")
    components = space.get("components") if isinstance(space, dict) else None
    if not isinstance(drugs, dict) or not isinstance(components, list):
        return
    for drug, theirs in drugs.items():
        if not isinstance(theirs, str):
            problems.append(
                (lines.get(f"drugs.{drug}"), f"drugs.{drug}", f"must be the data's name (got {theirs!r})")
            )
    if not drugs:
        problems.append((lines["drugs"], "drugs", "names no drug"))
    component = {"name": Key((str,)), "hours": Key(_NUMBER, above=2), "reads": Key((dict,), required=False)}
    if not components:
        problems.append((lines["space.components"], "space.components", "is empty"))
    for i, entry in enumerate(components):
        at = f"space.components[{i}]"
        if not isinstance(entry, dict):
            problems.append((lines.get(at), at, f"must be a mapping (got {entry!r})"))
            continue
        check(entry, component, at, lines, problems)
        rates = {r: Key(_NUMBER, required=False) for r in ("division", "apoptosis", "lysis", "clearance")}
        if isinstance(entry.get("reads"), dict):
            check(entry["reads"], rates, f"{at}.reads", lines, problems)


def check_representation(spec: dict[str, Any], lines: dict[str, int], problems: Problems) -> None:
    """What the keys of a representation's training file must be to each other."""
    words = {
        "method": ("vae", "pca"),
        "scale": ("molecular", "cellular", "tissue"),
    }
    for key, allowed in words.items():
        got = spec.get(key)
        if isinstance(got, str) and got not in allowed:
            close = get_close_matches(got, allowed, 1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            problems.append((lines.get(key), key, f"must be one of {', '.join(allowed)} (got {got!r}){hint}"))
    modalities = spec.get("modalities")
    if not isinstance(modalities, dict):
        return
    if not modalities:
        problems.append((lines.get("modalities"), "modalities", "names no modality"))
    entry = {k: Key((str,), required=False) for k in ("kind", "values", "weights")}
    entry["features"] = replace(NAMES, required=False)
    pools = "graph" in spec
    for name, asked in modalities.items():
        at = f"modalities.{name}"
        line = lines.get(at)
        if not name.isidentifier() or name in ("encoders", "decoders", "noise"):
            problems.append((line, at, "is not a name; use letters, digits and _, a letter first"))
        if not isinstance(asked, dict):
            problems.append((line, at, f"must be a mapping (got {asked!r})"))
            continue
        check(asked, entry, at, lines, problems)
        if ("kind" in asked) == ("weights" in asked):
            problems.append((line, at, "give either kind (counts or real) or weights of the space below"))
        elif "kind" in asked and asked["kind"] not in ("counts", "real"):
            got = asked["kind"]
            problems.append((lines.get(f"{at}.kind"), f"{at}.kind", f"must be counts or real (got {got!r})"))
        elif pools and "weights" not in asked:
            problems.append((line, at, "is pooled over the graph, so it needs weights of a cellular space"))
    if pools != (spec.get("scale") == "tissue"):
        key = "graph" if pools else "scale"
        problems.append((lines.get(key), key, "a tissue space has a graph, and no other has"))
    share = spec.get("fit", {}).get("hold_out") if isinstance(spec.get("fit"), dict) else None
    if isinstance(share, int | float) and not share < 1:
        problems.append((lines.get("fit.hold_out"), "fit.hold_out", f"must be below 1 (got {share!r})"))


def check_law(spec: dict[str, Any], lines: dict[str, int], problems: Problems) -> None:
    """What the keys of a law's training file must be to each other."""
    if ("data" in spec) == ("simulated" in spec):
        problems.append((1, "data", "give either data (tracks that were measured) or simulated (a scenario)"))
    signals = spec.get("signals")
    if not isinstance(signals, list):
        return
    if not signals or not all(isinstance(s, str) for s in signals):
        problems.append((lines.get("signals"), "signals", f"must be names of states (got {signals!r})"))
    for key in ("quantities", "truth"):
        given = spec.get(key)
        for name, value in given.items() if isinstance(given, dict) else ():
            at = f"{key}.{name}"
            if name not in signals:
                close = get_close_matches(name, [str(s) for s in signals], 1)
                hint = (
                    f"; did you mean '{close[0]}'?" if close else f"; there is {', '.join(map(str, signals))}"
                )
                problems.append((lines.get(at), at, f"is none of the signals{hint}"))
            if not isinstance(value, str):
                problems.append((lines.get(at), at, f"must be text (got {value!r})"))
    simulated = spec.get("simulated")
    if isinstance(simulated, dict):
        quantities = spec.get("quantities")
        missing = [s for s in signals if not isinstance(quantities, dict) or s not in quantities]
        if missing:
            said = f"must say which quantity of the scenario {missing[0]} is"
            problems.append((lines.get("quantities", 1), "quantities", said))
        held_out = simulated.get("held_out")
        for at, part in (("simulated", simulated), ("simulated.held_out", held_out)):
            seeds = part.get("seeds") if isinstance(part, dict) else None
            if isinstance(seeds, list) and not (seeds and all(type(s) is int and s >= 0 for s in seeds)):
                key = f"{at}.seeds"
                problems.append((lines.get(key), key, f"must be whole numbers from 0 on (got {seeds!r})"))
