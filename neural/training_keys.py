"""What training files may hold: the keys of each kind, and how they are checked. Light: no torch, no NumPy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from neural.errors import shown
from neural.spelling import nearest

Problems = list[tuple[int | None, str | None, str]]


@dataclass(frozen=True)
class Key:
    """What a key of a training file may hold. `low` and `high` bound a number, ends included; `of` is what each
    entry must be, and `once` that none is there twice."""

    types: tuple[type, ...]
    required: bool = True
    low: float | None = None
    high: float | None = None
    above: float | None = None
    keys: dict[str, Key] | None = None
    of: Key | None = None
    one_of: tuple[str, ...] = ()
    once: bool = False


_WORDS = {
    str: "text",
    dict: "a mapping",
    list: "a list",
    bool: "true or false",
    int: "a whole number of at most 19 digits",
}
TEXT = Key((str,))
NOTES = Key((list,), of=TEXT)
NAMES = replace(NOTES, once=True)
MAPPING = Key((dict,))
WHOLE = Key((int,), low=0)
COUNT = Key((int,), low=1)
WIDTH, DEPTH = (
    replace(COUNT, high=4096),
    replace(COUNT, high=64),
)  # of a network; wider ones would fit in no memory
NUMBER = Key((int, float))
NOT_NEGATIVE = replace(NUMBER, low=0)
POSITIVE = replace(NUMBER, above=0)
SEEDS = Key((list,), of=WHOLE)
# of Adam; beyond, nothing is learned
RATE = replace(POSITIVE, high=1)


def part(**keys: Key) -> Key:
    """A mapping that has keys of its own."""
    return replace(MAPPING, keys=keys)


def may(key: Key) -> Key:
    """What may be left out."""
    return replace(key, required=False)


#: what training files of all kinds hold
COMMON = {"training": COUNT, "kind": TEXT, "name": TEXT, "output": may(TEXT), "notes": may(NOTES)}
# a table of measurements: CSV, npz (its arrays by name) or AnnData
_TABLE = part(path=TEXT, values=may(TEXT), labels=may(TEXT), descriptions=may(TEXT))
SCHEMA: dict[str, dict[str, Key]] = {
    "manipulator": {
        **COMMON,
        "data": part(path=TEXT, replicates=COUNT, in_use=may(NAMES)),
        "drugs": MAPPING,
        "space": part(name=TEXT, components=Key((list,))),
        "architecture": may(
            part(
                hidden=may(WIDTH),
                residual=may(NOT_NEGATIVE),
                step=may(replace(NUMBER, low=1)),
                power=may(replace(NUMBER, low=1)),
                monolayer=may(part(clustering=may(NOT_NEGATIVE), overlap=may(replace(NOT_NEGATIVE, high=1)))),
            )
        ),
        "fit": may(
            part(
                folds=may(Key((int,), low=2)),
                seed=may(WHOLE),
                iterations=may(Key((int,), low=20)),
                rate=may(RATE),
                frames_worth=may(POSITIVE),
                day_to_day=may(POSITIVE),
                taught=may(NOT_NEGATIVE),
                drug_background=may(POSITIVE),
                drift=may(POSITIVE),
            )
        ),
    },
    "transport": {
        **COMMON,
        "data": _TABLE,
        "time": TEXT,
        "time_unit": may(Key((str,), one_of=("min", "h", "day"))),
        "space": part(
            name=TEXT,
            components=may(COUNT),
            embedding=may(TEXT),
            features=may(NAMES),
            conserved=may(Key((list,), of=NAMES)),
        ),
        "architecture": may(part(hidden=may(WIDTH), layers=may(DEPTH))),
        "fit": may(part(seed=may(WHOLE), iterations=may(COUNT), fine_tuning=may(WHOLE), rate=may(RATE))),
    },
    "perturbation": {
        **COMMON,
        "data": _TABLE,
        "drugs": may(NAMES),
        "responses": may(NAMES),
        "unit": may(TEXT),
    },
    "traces": {
        **COMMON,
        "data": _TABLE,
        "track": may(TEXT),
        "time": may(TEXT),
        "treatment": may(TEXT),
        "channels": may(NAMES),
        "given": COUNT,
        "frames": may(Key((int,), low=2)),
        "frame": may(POSITIVE),
        "fit": may(part(seed=may(WHOLE))),
    },
    "representation": {
        **COMMON,
        "data": part(path=TEXT),
        "scale": may(TEXT),
        "method": may(TEXT),
        "space": part(name=TEXT, components=COUNT, states=may(TEXT)),
        "modalities": MAPPING,
        "graph": may(part(positions=Key((str, list)), radius=POSITIVE, hops=may(COUNT))),
        "fit": may(
            part(
                seed=may(WHOLE),
                hold_out=may(POSITIVE),
                hold_out_by=may(TEXT),
                hidden=may(WIDTH),
                layers=may(DEPTH),
                epochs=may(COUNT),
                rate=may(RATE),
            )
        ),
    },
    "tissue": {
        **COMMON,
        "radius": POSITIVE,
        "cell_radius": POSITIVE,
        "layers": part(**dict.fromkeys(("train", "check", "test"), COUNT)),
        "architecture": part(hidden=WIDTH),
        "fit": part(seed=WHOLE, iterations=Key((int,), low=20)),
    },
    "niche": {
        **COMMON,
        "data": _TABLE,
        "columns": may(part(**{k: may(TEXT) for k in ("type", "region", "x", "y")})),
        "scale": may(POSITIVE),
        "leave_out": may(NAMES),
        "radius": POSITIVE,
        "near": may(POSITIVE),
        "fit": may(part(seed=may(WHOLE), folds=may(Key((int,), low=3)), block=may(POSITIVE))),
    },
    "law": {
        **COMMON,
        "data": may(_TABLE),
        "simulated": may(
            part(
                scenario=TEXT,
                set=may(MAPPING),
                seeds=SEEDS,
                held_out=may(part(set=may(MAPPING), seeds=SEEDS)),
            )
        ),
        "held_out": may(part(path=TEXT)),
        "truth": may(MAPPING),
        "unit": may(TEXT),
        "signals": NAMES,
        "quantities": may(MAPPING),
        "radius": POSITIVE,
        "dims": may(Key((int,), low=2)),
        "mean": may(WHOLE),
        "by_distance": may(WHOLE),
        "itself": may(WHOLE),
        "fit": may(part(seed=may(WHOLE), hold_out=may(POSITIVE))),
    },
}


def check(value: Any, keys: dict[str, Key], at: str, lines: dict[str, int], problems: Problems) -> None:
    def name(key: str) -> str:
        return f"{at}.{key}".lstrip(".")

    for key in value:
        if key not in keys:
            hint = nearest(key, keys, f"allowed: {', '.join(keys)}")
            problems.append((lines.get(name(key)), name(key), f"unknown key {shown(key)}{hint}"))
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
        wanted = "a number" if rule.types == NUMBER.types else " or ".join(_WORDS[t] for t in rule.types)
        return f"must be {wanted} (got {shown(got)})"
    if rule.low is not None and not rule.low <= got < float("inf"):
        return f"must be at least {rule.low:g} (got {shown(got)})"
    if rule.high is not None and got > rule.high:
        return f"must be at most {rule.high:g} (got {shown(got)})"
    if rule.above is not None and not rule.above < got < float("inf"):
        return f"must be above {rule.above:g} (got {shown(got)})"
    if rule.once and (twice := next((x for k, x in enumerate(got) if x in got[:k]), None)) is not None:
        return f"names {shown(twice)} twice"
    if rule.one_of and got not in rule.one_of:
        return f"must be one of {', '.join(rule.one_of)} (got {shown(got)})"
    return None


# what predictions say of a condition beside its doses
_NO_DRUG = ("condition", "time", "hours", "at", "live_area", "confluence", "extrapolated", "flag", "gain")


def _check_name(name: str, at: str, lines: dict[str, int], problems: Problems) -> None:
    if not name.isidentifier():
        problems.append((lines.get(at), at, "is not a name; use letters, digits and _, a letter first"))


def check_manipulator(spec: dict[str, Any], lines: dict[str, int], problems: Problems) -> None:
    drugs, space = spec.get("drugs"), spec.get("space")
    components = space.get("components") if isinstance(space, dict) else None
    if not isinstance(drugs, dict) or not isinstance(components, list):
        return
    for drug, theirs in drugs.items():
        at = f"drugs.{drug}"
        if not isinstance(theirs, str):
            problems.append((lines.get(at), at, f"must be the data's name (got {shown(theirs)})"))
        _check_name(drug, at, lines, problems)
        if drug in _NO_DRUG:
            problems.append(
                (lines.get(at), at, "means something else in a table of conditions; name it otherwise")
            )
    for theirs in sorted({t for t in drugs.values() if isinstance(t, str)}):
        twice = [drug for drug, t in drugs.items() if t == theirs]
        if len(twice) > 1:
            at = f"drugs.{twice[1]}"
            problems.append(
                (lines.get(at), at, f"the data's {shown(theirs)} is named twice, here and as {twice[0]}")
            )
    if isinstance(space, dict) and isinstance(space.get("name"), str):
        _check_name(space["name"], "space.name", lines, problems)
    in_use = spec["data"].get("in_use") if isinstance(spec.get("data"), dict) else None
    if in_use == []:
        problems.append((lines.get("data.in_use"), "data.in_use", "names no experiment"))
    if not drugs:
        problems.append((lines["drugs"], "drugs", "names no drug"))
    component = {"name": TEXT, "hours": replace(NUMBER, above=2), "reads": may(MAPPING)}
    if not components:
        problems.append((lines["space.components"], "space.components", "is empty"))
    for i, entry in enumerate(components):
        at = f"space.components[{i}]"
        if not isinstance(entry, dict):
            problems.append((lines.get(at), at, f"must be a mapping (got {shown(entry)})"))
            continue
        check(entry, component, at, lines, problems)
        if any(isinstance(e, dict) and e.get("name") == entry.get("name") for e in components[:i]):
            problems.append((lines.get(f"{at}.name"), f"{at}.name", "is the name of a component above"))
        rates = {r: may(NUMBER) for r in ("division", "apoptosis", "lysis", "clearance")}
        if isinstance(entry.get("reads"), dict):
            check(entry["reads"], rates, f"{at}.reads", lines, problems)


def check_transport(spec: dict[str, Any], lines: dict[str, int], problems: Problems) -> None:
    space = spec.get("space")
    if isinstance(space, dict) and space.get("conserved") == []:
        problems.append((lines.get("space.conserved"), "space.conserved", "names no sum; leave it out"))


def check_representation(spec: dict[str, Any], lines: dict[str, int], problems: Problems) -> None:
    """What the keys of a representation's training file must be to each other."""
    words = {
        "method": ("vae", "pca"),
        "scale": ("molecular", "cellular", "tissue"),
    }
    for key, allowed in words.items():
        got = spec.get(key)
        if isinstance(got, str) and got not in allowed:
            hint = nearest(got, allowed)
            problems.append(
                (lines.get(key), key, f"must be one of {', '.join(allowed)} (got {shown(got)}){hint}")
            )
    modalities = spec.get("modalities")
    if not isinstance(modalities, dict):
        return
    if not modalities:
        problems.append((lines.get("modalities"), "modalities", "names no modality"))
    entry = {k: may(TEXT) for k in ("kind", "values", "weights")}
    entry["features"] = may(NAMES)
    pools = "graph" in spec
    for name, asked in modalities.items():
        at = f"modalities.{name}"
        line = lines.get(at)
        if not name.isidentifier() or name in ("encoders", "decoders", "noise"):
            problems.append((line, at, "is not a name; use letters, digits and _, a letter first"))
        if not isinstance(asked, dict):
            problems.append((line, at, f"must be a mapping (got {shown(asked)})"))
            continue
        check(asked, entry, at, lines, problems)
        if ("kind" in asked) == ("weights" in asked):
            problems.append(
                (line, at, "give either kind (counts, real or embedding) or weights of the space below")
            )
        elif "kind" in asked and asked["kind"] not in ("counts", "real", "embedding"):
            got = asked["kind"]
            said = f"must be counts, real or embedding (got {shown(got)})"
            problems.append((lines.get(f"{at}.kind"), f"{at}.kind", said))
        elif pools and "weights" not in asked:
            problems.append((line, at, "is pooled over the graph, so it needs weights of a cellular space"))
    if pools != (spec.get("scale") == "tissue"):
        key = "graph" if pools else "scale"
        problems.append((lines.get(key), key, "a tissue space has a graph, and no other has"))
    share = spec.get("fit", {}).get("hold_out") if isinstance(spec.get("fit"), dict) else None
    if isinstance(share, int | float) and not share < 1:
        problems.append((lines.get("fit.hold_out"), "fit.hold_out", f"must be below 1 (got {shown(share)})"))


def check_law(spec: dict[str, Any], lines: dict[str, int], problems: Problems) -> None:
    """What the keys of a law's training file must be to each other."""
    if ("data" in spec) == ("simulated" in spec):
        problems.append((1, "data", "give either data (tracks that were measured) or simulated (a scenario)"))
    signals = spec.get("signals")
    if not isinstance(signals, list):
        return
    if not signals or not all(isinstance(s, str) for s in signals):
        problems.append((lines.get("signals"), "signals", f"must be names of states (got {shown(signals)})"))
    for key in ("quantities", "truth"):
        given = spec.get(key)
        for name, value in given.items() if isinstance(given, dict) else ():
            at = f"{key}.{name}"
            if name not in signals:
                there = [str(s) for s in signals]
                hint = nearest(name, there, f"there is {', '.join(there)}")
                problems.append((lines.get(at), at, f"is none of the signals{hint}"))
            if not isinstance(value, str):
                problems.append((lines.get(at), at, f"must be text (got {shown(value)})"))
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
                problems.append(
                    (lines.get(key), key, f"must be whole numbers from 0 on (got {shown(seeds)})")
                )
