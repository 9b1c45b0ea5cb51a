"""Names of the scenario and outcomes in the words of those who did not write it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_STATISTICS = {
    "mean": "mean {} in living {} cells",
    "sd": "spread of {} among living {} cells",
    "sum": "sum of {} over living {} cells",
    "min": "smallest {} among living {} cells",
    "max": "largest {} among living {} cells",
}


def outcome_words(text: str) -> str:
    """`number of living pc9 cells at 72 h` for `count(pc9) @ 72 h`; as it is where it is of no known form."""
    what, when = _parted(text)
    call = re.fullmatch(r"(\w+)\((.*)\)", what)
    if call and call[1] == "count":
        return f"number of living {call[2].strip()} cells {when}".replace("  ", " ")
    if call and call[1] in _STATISTICS:
        name, _, cells = call[2].rpartition(", ")
        name, cells = (name, cells) if name else (cells, "")
        if name.startswith("field.") and not cells:
            return f"{call[1]} of {name.removeprefix('field.')} over space {when}"
        return f"{_STATISTICS[call[1]].format(words(name), cells)} {when}".replace("  ", " ")
    reading = re.fullmatch(r"instrument\.(\w+)\.(\w+)", what)
    if reading:
        return f"{reading[2].replace('_', ' ')}, as {reading[1]} reads it, {when}"
    return text


def _parted(text: str) -> tuple[str, str]:
    what, at, when = text.partition("@")
    if at:
        return what.strip(), f"at {when.strip()}"
    what, _, when = text.partition(" over ")
    return what.strip(), f"over {when.strip()}"


def words(name: str, labels: Mapping[str, str] | None = None) -> str:
    """What a quantity is, without its prefix: `dose of erlotinib` for `condition.erlotinib`."""
    if labels and labels.get(name):
        return labels[name].replace("_", " ")
    aggregate = re.fullmatch(r"neighbours\.(count|mean|sum)\((.*)\)", name)
    if aggregate:
        how, of = aggregate.groups()
        return (
            f"number of {of} neighbours"
            if how == "count"
            else f"{how} of the neighbours' {words(of, labels)}"
        )
    slope = re.fullmatch(r"d\((.*)\)/dt", name)
    if slope:
        return f"change of {words(slope[1], labels)}"
    sent = re.fullmatch(r"(.*) of neighbours (\w+)", name)
    if sent:
        return f"{words(sent[1], labels)} of neighbouring {sent[2]} cells"
    first, _, rest = name.partition(".")
    if first == "pathway" and "." in rest:
        pathway, _, part = rest.partition(".")
        return f"{part} of pathway {pathway}"
    known = {
        "field": "{} around the cell",
        "condition": "dose of {}",
        "message": "{} as the cell hears of it",
        "decoder": "the network's rate of {}",
        "rate": "the cells' rate of {}",
        "cell": "{}",
        "tissue": "{} as the neighbours make it",
    }
    return known[first].format(rest.replace("_", " ")) if rest and first in known else name


def coupling_words(name: str, labels: Mapping[str, str] | None = None) -> str:
    """`what acts on what` for `source → target`."""
    plain = re.sub(r" \([^()]*\)$", "", name) if name.count("→") == 1 and name.endswith(")") else name
    source, arrow, target = plain.partition(" → ")
    return f"{words(source, labels)} acts on {words(target, labels)}" if arrow else words(name, labels)


def outputs_words(names: Sequence[str]) -> str:
    """What a network says, the parts of a representation as one."""
    inner = [n for n in names if n.startswith("d(")]
    blocks = {n[2:].partition("[")[0]: sum(m.startswith(n.partition("[")[0]) for m in inner) for n in inner}
    said = [f"how {block} changes ({count} parts)" for block, count in blocks.items()]
    return ", ".join([*(n for n in names if n not in inner), *said])
