"""Spaces of representations that a scenario names, put in order: what is built on another comes after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sim.planning.names import fault_of
from sim.processes.representation import RepresentationProcess, SpaceSettings
from sim.spelling import did_you_mean

if TYPE_CHECKING:
    from neural.weights import Card
    from sim.core.quantity import Quantity
    from sim.planning.findings import Findings
    from sim.scenario.dynamics import RepresentationSpace


def representations_of(findings: Findings, moved: set[str], step: float) -> list[RepresentationProcess]:
    """One process for each space of `representations`; `moved` are the spaces that a manipulator acts on."""
    scenario = findings.scenario
    cards: dict[str, Card] = {}
    for name, spec in scenario.representations.items():
        key = ("representations", name, "weights")
        card = findings.card(key, spec.weights, "representation")
        if card is not None and card.space != name:
            findings.fault(key, f"these weights are of the space '{card.space}'; name it so")
        elif card is not None:
            cards[name] = card
    return [_process(findings, name, card, moved, step, cards) for name, card in cards.items()]


def check_reads(findings: Findings, known: Mapping[str, Quantity]) -> None:
    """Notes every quantity read that there is not; `known` are all that there are."""
    for name, spec in findings.scenario.representations.items():
        for modality, features in spec.reads.items():
            for feature, quantity in features.items():
                message = fault_of(str(quantity), known)
                if message:
                    findings.fault(("representations", name, "reads", modality, feature), message)


def _process(
    findings: Findings, name: str, card: Card, moved: set[str], step: float, cards: Mapping[str, Card]
) -> RepresentationProcess:
    scenario = findings.scenario
    spec = scenario.representations[name]
    at = ("representations", name)
    owners = {
        code: t.representation
        for code, t in enumerate(scenario.cells.values())
        if t.representation is not None and t.representation.space == name
    }
    if name in moved and (spec.reads or spec.built_on):
        findings.fault(
            at, "a manipulator moves the cells in this space, so it cannot be encoded; remove reads"
        )
    initial = {}
    for code, r in owners.items():
        start = r.initial or card.initial_names[0]
        if name not in moved and start not in card.initial_names:
            key = ("cells", findings.types[code], "representation", "initial")
            hint = did_you_mean(start, card.initial_names)
            findings.fault(key, f"space '{name}' has no state '{start}'{hint}")
            start = card.initial_names[0]
        initial[code] = start
    types = findings.codes(spec.cells)
    if types is None and owners:
        types = frozenset(owners)
    if not owners and not (spec.reads or spec.built_on):
        findings.fault(at, "no cell type has this representation, and it reads nothing")
    settings = SpaceSettings(
        name=name,
        weights=scenario.resolve((*at, "weights"), spec.weights),
        card=card,
        reads=_reads(findings, name, spec, card),
        built_on=_built_on(findings, name, spec, card, cards),
        initial=initial,
        owned=name in moved,
    )
    return RepresentationProcess(settings, step, types)


def _modalities(card: Card) -> dict[str, dict]:
    return {m["name"]: m for m in card.architecture["modalities"]}


def _reads(
    findings: Findings, name: str, spec: RepresentationSpace, card: Card
) -> dict[str, tuple[str, ...]]:
    known, out = _modalities(card), {}
    for modality, features in spec.reads.items():
        at = ("representations", name, "reads", modality)
        if modality not in known:
            findings.fault(at, f"the space has no modality '{modality}'{did_you_mean(modality, known)}")
            continue
        wanted = known[modality]["features"]
        if known[modality]["kind"] == "counts":
            findings.fault(at, "is of counts, which are measured and not simulated; read another modality")
        for feature in features:
            if feature not in wanted:
                hint = did_you_mean(feature, wanted)
                findings.fault((*at, feature), f"the modality has no feature '{feature}'{hint}")
        missing = [f for f in wanted if f not in features]
        if missing:
            findings.fault(at, f"lacks {', '.join(missing[:8])}; a modality is read as a whole or left out")
        out[modality] = tuple(str(features[f]) for f in wanted if f in features)
    return out


def _built_on(
    findings: Findings, name: str, spec: RepresentationSpace, card: Card, cards: Mapping[str, Card]
) -> dict[str, tuple[str, int]]:
    known, out = _modalities(card), {}
    below = card.raw.get("below", {})
    for modality, space in spec.built_on.items():
        at = ("representations", name, "built_on", modality)
        made_of = below.get(modality, {})
        if modality not in known:
            findings.fault(at, f"the space has no modality '{modality}'{did_you_mean(modality, known)}")
        elif made_of.get("space") != space:
            there = made_of.get("space")
            fix = f"it was trained on the space '{there}'" if there else "it was trained on no space below"
            findings.fault(at, f"cannot be built on '{space}'; {fix}")
        elif space in cards and not _same(cards[space], made_of, len(known[modality]["features"])):
            findings.fault(at, f"was trained on other weights of the space '{space}'; train it again")
        else:
            out[modality] = (space, int(made_of["hops"]))
    return out


def _same(card: Card, made_of: Mapping[str, Any], width: int) -> bool:
    """Whether a space below is that which another was trained on, which knows so much of it."""
    pooled = card.dimension * (1 + 2 * int(made_of["hops"]))
    return pooled == width and made_of.get("sha256", card.sha256) == card.sha256
