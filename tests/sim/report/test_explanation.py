"""The page of an explanation says what its numbers say, and needs nothing from outside."""

import re

import numpy as np
import pytest
from scenes import scene

from sim.interpret.explain import explain
from sim.interpret.show import write
from sim.report.effect_words import Told, sentences
from sim.report.explanation import write_explanation

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
    return Told(
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
    assert "What matters most is field.drug → rate.death" in html
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
    assert "Then comes c → d: without it the outcome would be 70, 30% lower" in said
    assert "cannot be told where their intervals overlap: c → d" in said
    assert "below 1 % of the outcome: e → f" in said
    assert "Of g → h it cannot be told" in said and "Nothing changed in any run without i → j" in said
    assert "The effect of k → l is smaller than what the coupling step itself does" in said
    assert "g → h does change rate.death (+60%, direct), but the outcome is not seen to follow" in said
    assert "g → h: without it" not in said


def test_components_are_called_by_their_labels():
    rows = [row("ur.s[1]", 60.0, "raises", "integrated_gradients", "direct", "decoder.death")]
    said = sentences({**ABOUT, "labels": '{"ur.s[1]": "damage"}'}, rows)
    assert any("ur.s[1], damage, (+60%)" in s for s in said)
