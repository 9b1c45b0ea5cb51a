"""The page of an explanation says what its numbers say, and needs nothing from outside."""

import re

import numpy as np
import pytest
from scenes import scene

from sim.interpret.effects import Row
from sim.interpret.explain import explain
from sim.interpret.grouped import grouped
from sim.interpret.show import write
from sim.report.effect_words import sentences
from sim.report.explanation import write_explanation
from sim.report.in_words import coupling_words, outcome_words

ABOUT = {
    "outcome": "count(a) @ 4 h",
    "units": "1",
    "baseline": 100.0,
    "baseline_lower": 90.0,
    "baseline_upper": 110.0,
    "seeds": 5,
    "notes": [],
}


def row(quantity, effect, verdict, method="ablation", kind="total", on="count(a) @ 4 h", note=""):
    return Row(
        quantity, on, effect, effect - 1, effect + 1, effect / 100, "1", kind, method, "4 h", verdict, 1, note
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("why")
    scenario = scene(
        "couplings:\n"
        "  - {from: field.drug, to: rate.death, linear: {slope: 8e-3}, mode: add}\n"
        "  - {from: field.decoy, to: rate.clearance, linear: {slope: 1e-3}, mode: add}",
        fields="{drug: {diffusion: 1e4 um^2/min, initial: 1 uM}, decoy: {diffusion: 1e4 um^2/min, initial: 1 uM}}",
        cells="{a: {count: 60, place: {random: {}}, cycle: {division: 1e-3 /min}}}",
        step="30 min",
    )
    found = explain(scenario, "count(a) @ 2 h", ("ablation", "direct", "share"), seeds=3)
    store = folder / "why.zarr"
    made = write_explanation(store, write(found, store))
    assert made == folder / "why.zarr.report" / "explain.html"
    return found, made.read_text()


def test_the_page_has_the_sentences_and_the_pictures(page):
    _, html = page
    assert (
        "What matters most is field.drug → rate.death (drug around the cell acts on the cells&#x27; rate of death)"
        in html
    )
    assert "Nothing changed in any run without field.decoy → rate.clearance" in html
    # ranked bars, weighted graph, direct bars, direct in time, shares
    assert html.count("<svg role=") == 5
    assert "life: births (mechanism)" in html and "life: deaths (mechanism)" in html


def test_the_page_needs_nothing_from_outside(page):
    _, html = page
    named = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert all(n.startswith(("#", "data:image/png;base64,")) for n in named if n)
    assert "url(http" not in html and "<script" not in html


def test_shares_sum_up_to_the_change(page):
    found, _ = page
    parts = found["share"]["contribution"].sum("process").values
    assert np.array_equal(parts, found["ablation"]["intact"].values - 60)


def test_sentences_say_no_more_than_the_intervals():
    rows = [
        row("a → b", -40.0, "lowers"),
        row("c → d", 30.0, "raises", note="order with e: cannot tell"),
        row("e → f", 0.5, "raises"),
        row("g → h", 2.0, "cannot tell"),
        row("i → j", 0.0, "no effect"),
        row("k → l", 3.0, "below the coupling error"),
        row("g → h", 60.0, "raises", "direct", "direct", "rate.death"),
    ]
    said = "\n".join(sentences(ABOUT, rows))
    assert "without it the outcome would be 140, 40% higher (it lowers the outcome by 40, 39 to 41)" in said
    assert "Then comes c → d (c acts on d): without it the outcome would be 70, 30% lower" in said
    assert "their intervals overlap: c → d or e." in said
    assert "below 1 % of the outcome: e → f" in said
    assert "Of g → h it cannot be told" in said and "Nothing changed in any run without i → j" in said
    assert "The effect of k → l is smaller than what the coupling step itself does" in said
    assert "(direct), but the outcome is not seen to follow: g → h (+60%)." in said
    assert "g → h: without it" not in said


def followed():
    rows = [
        row("ur.s[1]", 60.0, "raises", "integrated_gradients", "direct", "decoder.death"),
        row("ur.s[0]", -20.0, "lowers", "integrated_gradients", "direct", "decoder.death"),
        row("condition.x", 20.0, "cannot tell", "integrated_gradients", "direct", "decoder.death"),
        row("ur.s[1]", -50.0, "lowers", "integrated_gradients", "direct", "decoder.birth"),
        row("ur.s[0]", -50.0, "lowers", "integrated_gradients", "direct", "decoder.birth"),
        row("condition.x", 7.0, "raises", "integrated_gradients", "direct", "d(ur.s[0])/dt"),
    ]
    owner = {
        "decoder.death": "decoder of m",
        "decoder.birth": "decoder of m",
        "d(ur.s[0])/dt": "manipulator.m",
    }
    return grouped(rows, owner)


def test_a_network_is_one_line_with_its_strongest_inputs():
    decoder, manipulator = followed()
    assert (decoder.name, manipulator.name) == ("decoder of m", "manipulator.m")
    # mean over the outputs of each input's share in the sizes of all
    assert [(p.name, p.share, p.sign) for p in decoder.inputs] == [
        ("ur.s[1]", pytest.approx((0.6 + 0.5) / 2), 0),
        ("ur.s[0]", pytest.approx((0.2 + 0.5) / 2), -1),
    ]
    assert [(p.name, p.share) for p in manipulator.inputs] == [("condition.x", 1.0)]
    assert len(decoder.rows) == 5


def test_components_are_called_by_their_labels():
    about = {
        **ABOUT,
        "labels": '{"ur.s[1]": "dna_damage"}',
        "wiring": '{"edges": [{"from": "decoder.death"}]}',
    }
    said = sentences(about, [], followed())
    start = "The network's rate of death (decoder.death) follows dna damage (raises it, 60% of what moves it) and "
    assert len(said) == 2 and said[1].startswith(start)


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        ("count(pc9) @ 72 h", "number of living pc9 cells at 72 h"),
        ("count() @ 3 h", "number of living cells at 3 h"),
        (
            "mean(pathway.egfr.ppERK, pc9) over 6-24 h",
            "mean ppERK of pathway egfr in living pc9 cells over 6-24 h",
        ),
        ("mean(field.oxygen) @ 12 h", "mean of oxygen over space at 12 h"),
        ("instrument.incucyte.live_area @ 96 h", "live area, as incucyte reads it, at 96 h"),
    ],
)
def test_outcomes_are_said_in_words(outcome, said):
    assert outcome_words(outcome) == said


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("field.drug → rate.death (couplings[0])", "drug around the cell acts on the cells' rate of death"),
        ("cell.radius of neighbours pc9", "radius of neighbouring pc9 cells"),
        ("neighbours.count(b) → rate.death", "number of b neighbours acts on the cells' rate of death"),
        ("condition.erlotinib", "dose of erlotinib"),
    ],
)
def test_names_are_said_in_words(name, said):
    assert coupling_words(name) == said
