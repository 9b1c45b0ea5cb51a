"""Cutting couplings: a strong, a weak and an inert one are told apart, and a cut is a scenario without the line."""

import json

import numpy as np
import pytest
import xarray as xr
from scenes import scene, started

from sim.build import plan
from sim.errors import ScenarioError
from sim.interpret import show
from sim.interpret.effects import Row, interval, judged, ranked, rows_of
from sim.interpret.explain import explain
from sim.interpret.methods.direct import shapley
from sim.interpret.observe import observed
from sim.interpret.outcome import parse_outcome
from sim.progress import Silent

FIELDS = """{drug: {diffusion: 1e4 um^2/min, initial: 1 uM}, decoy: {diffusion: 1e4 um^2/min, initial: 1 uM},
  growth_factor: {diffusion: 1e4 um^2/min, initial: 1 uM}}"""
CELLS = "{a: {count: 80, place: {random: {}}, cycle: {division: 1e-3 /min}, death: {apoptosis: 1e-3 /min}}}"
STRONG = "{from: field.drug, to: rate.death, linear: {slope: 4e-3}, mode: add}"
WEAK = "{from: field.growth_factor, to: rate.division, linear: {slope: 2.5}, mode: scale}"
INERT = "{from: field.decoy, to: rate.clearance, linear: {slope: 1e-3}, mode: add}"


def with_couplings(*lines, stop="4 h"):
    couplings = "\n".join(f"  - {line}" for line in lines)
    return scene(
        f"couplings:\n{couplings}" if lines else "",
        "instruments: {incucyte: {every: 1 h, channels: [live_area]}}",
        stop=stop,
        step="30 min",
        domain="{x: [-200 um, 200 um], y: [-200 um, 200 um]}",
        fields=FIELDS,
        cells=CELLS,
    )


class Heard(Silent):
    """Progress that remembers."""

    def __init__(self):
        self.counted, self.noted = [], []

    def count(self, done, total, what):
        self.counted.append((done, total, what))

    def note(self, text):
        self.noted.append(text)


@pytest.fixture(scope="module")
def found():
    heard = Heard()
    tree = explain(
        with_couplings(INERT, WEAK, STRONG),
        "count(a) @ 4 h",
        ("ablation", "direct"),
        seeds=4,
        progress=heard,
    )
    # intact runs and three cuts for each of four seeds, half the step for two
    assert len(heard.counted) == 4 * 4 + 2 and {total for _, total, _ in heard.counted} == {4 * 4 + 2}
    assert any("without field.drug" in what for _, _, what in heard.counted)
    # what leads is said while there is more to come
    assert [n.partition(":")[0] for n in heard.noted] == ["after 2 of 4 seeds", "after 3 of 4 seeds"]
    assert "field.drug → rate.death" in heard.noted[0]
    return tree


def rows(tree, method="ablation"):
    return [r for r in rows_of(tree["ranking"].to_dataset()) if r.method == method]


def test_a_strong_a_weak_and_an_inert_coupling_are_ranked_with_their_signs(found):
    strong, weak, inert = rows(found)
    names = [r.quantity for r in (strong, weak, inert)]
    assert names == [
        "field.drug → rate.death",
        "field.growth_factor → rate.division",
        "field.decoy → rate.clearance",
    ]
    assert [r.rank for r in (strong, weak, inert)] == [1, 2, 3]
    assert strong.effect < 0 < weak.effect and abs(strong.effect) > 2 * weak.effect
    assert [r.verdict for r in (strong, weak, inert)] == ["lowers", "raises", "no effect"]
    assert strong.upper < 0 < weak.lower and inert.lower == inert.effect == inert.upper == 0
    assert {r.kind for r in rows(found)} == {"total"} and {r.kind for r in rows(found, "direct")} == {
        "direct"
    }


def test_the_numbers_follow_from_the_paired_runs(found):
    data = found["ablation"]
    effect, intact = data["effect"].values, data["intact"].values
    by_name = dict(zip(data["coupling"].values.tolist(), effect))
    for r in rows(found):
        assert r.effect == by_name[r.quantity].mean()
        assert r.relative == pytest.approx(r.effect / intact.mean())
    assert found.attrs["baseline"] == intact.mean() and rows(found)[0].time == "4 h"
    assert data["key"].values.tolist() == ["couplings[0]", "couplings[1]", "couplings[2]"]


def test_direct_effects_are_what_the_couplings_add_to_their_targets(found):
    by_name = {r.quantity: r for r in rows(found, "direct")}
    death = by_name["field.drug → rate.death"]
    # 4e-3 per uM of the drug at 1 uM, all along
    assert (death.on, death.unit) == ("rate.death", "1/min")
    assert death.effect == pytest.approx(4e-3, rel=1e-3) and death.verdict == "raises"
    # the inert one acts on clearance all the same: what it has not is an effect on the outcome
    assert by_name["field.decoy → rate.clearance"].effect == pytest.approx(1e-3, rel=1e-3)


def test_shares_of_couplings_on_one_target_sum_up_to_what_it_is_driven_by():
    simulation = started(
        with_couplings(
            STRONG,
            "{from: field.decoy, to: rate.death, linear: {slope: 3}, mode: scale}",
            "{from: clock.time, to: rate.death, linear: {slope: 1e-5, intercept: 2e-3}}",
        )
    )
    shares = shapley(simulation.signals, "rate.death")
    base = simulation.signals.without("rate.death", (0, 1, 2))
    driven = simulation.signals["rate.death"]
    assert len(shares) == 3
    assert np.allclose(sum(shares.values()), driven - base, rtol=1e-12, atol=0)


def test_a_cut_gives_the_bits_of_a_scenario_without_that_line(found):
    found_before = found
    names = {
        WEAK: "field.growth_factor → rate.division",
        STRONG: "field.drug → rate.death",
        INERT: "field.decoy → rate.clearance",
    }
    lines = [INERT, WEAK, STRONG]
    for index, line in enumerate(lines):
        whole = started(with_couplings(*lines)).again(11, cut=(index,))
        without = started(with_couplings(*(x for x in lines if x != line))).again(11)
        outcome = parse_outcome("count(a) @ 4 h", whole.plan)
        found = observed(whole, outcome)
        assert found == observed(without, outcome)
        a, b = whole.state.snapshot(), without.state.snapshot()
        assert a.keys() == b.keys() and all(np.array_equal(a[n], b[n], equal_nan=True) for n in a)
        data = found_before["ablation"]
        assert found == (data["intact"] - data["effect"].sel(coupling=names[line])).values[0]


def test_a_cut_that_changes_a_pathway_gives_the_bits_of_a_scenario_without_it(tmp_path):
    from scenes import CONVERSION, advance

    (tmp_path / "conversion.ant").write_text(CONVERSION)

    def parts(*couplings):
        return scene(
            "pathways: {q: {model: conversion.ant, time_unit: min}}",
            *couplings,
            fields="{drug: {diffusion: 1e3 um^2/min, initial: 1 uM}}",
            cells="{a: {count: 4, place: {random: {}}, cycle: {division: 3e-3 /min}, pathways: [q]}}",
            folder=tmp_path,
        )

    coupled = parts("couplings: [{from: field.drug, to: pathway.q.inhibitor}]")
    ends = []
    for simulation in (started(coupled, cut=(0,)), started(parts()), started(coupled)):
        advance(simulation, 60)
        ends.append(simulation.state.snapshot())
    cut, without, intact = ends
    for name in without:
        assert np.array_equal(cut[name], without[name], equal_nan=True), name
    assert not np.array_equal(intact["cells/pathway.q.state"], cut["cells/pathway.q.state"])


def test_a_run_from_loaded_models_is_the_run_from_new_ones():
    scenario = with_couplings(STRONG)
    simulation = started(scenario)
    outcome = parse_outcome("mean(cell.volume, a) @ 3 h", simulation.plan)
    used = [observed(simulation.again(seed), outcome) for seed in (3, 4, 3)]
    assert used[0] == used[2] != used[1]
    assert used[0] == observed(started(with_couplings(STRONG)).again(3), outcome)


def test_a_condition_of_a_manipulator_and_the_message_to_it_are_cut_too():
    from pathlib import Path

    from sim import Scenario

    shipped = Path(__file__).resolve().parents[3] / "scenarios" / "quickstart.yaml"
    planned = plan(Scenario.load(shipped))
    names = [c.name for c in planned.couplings]
    assert "field.erlotinib → condition.erlotinib" in names
    assert any(n.endswith("→ message.confluence") for n in names)


def test_chance_alone_is_not_told_as_an_effect():
    """A coupling that adds exactly nothing on average, with two seeds only."""
    noisy = "{from: cell.pressure, to: rate.division, linear: {slope: 1e-4, intercept: 1}, mode: scale}"
    (row,) = rows(explain(with_couplings(noisy, stop="2 h"), "count(a) @ 2 h", ("ablation",), seeds=2))
    assert row.verdict in ("cannot tell", "no effect")


def test_an_outcome_that_does_not_exist_is_undefined():
    killing = "{from: field.drug, to: rate.death, linear: {slope: 10}, mode: add}"
    tree = explain(with_couplings(killing, stop="2 h"), "mean(cell.volume, a) @ 2 h", ("ablation",), seeds=2)
    (row,) = rows(tree)
    assert row.verdict == "undefined" and np.isnan(row.effect)
    (plain,) = json.loads(show.to_json(tree))
    assert plain["effect"] is None and plain["lower"] is None


def test_intervals_are_students():
    found = interval(np.array([1.0, 2.0, 3.0, 4.0]))
    # t of 3 degrees of freedom at 95 %: 2.353
    half = 2.3533634 * np.std([1, 2, 3, 4], ddof=1) / 2
    assert (found.mean, found.lower, found.upper) == pytest.approx((2.5, 2.5 - half, 2.5 + half), rel=1e-6)
    assert not interval(np.array([-1.0, 1.0])).clear and interval(np.array([1.0, 1.01])).clear


@pytest.mark.parametrize(
    ("differences", "step", "verdict"),
    [
        ([2.0, 2.1, 1.9], [0.0, 0.1, -0.1], "raises"),
        ([-2.0, -2.1, -1.9], [0.5, 0.6, 0.4], "lowers"),
        ([2.0, -2.1, 0.1], [0.0, 0.1, -0.1], "cannot tell"),
        ([0.0, 0.0, 0.0], [5.0, 5.1, 4.9], "no effect"),
        ([2.0, 2.1, 1.9], [-5.0, -5.1, -4.9], "below the coupling error"),
        # a step error that may be chance puts nothing in doubt
        ([2.0, 2.1, 1.9], [-15.0, 5.1, 20.0], "raises"),
        ([2.0, np.nan, 1.9], [0.0, 0.1, -0.1], "undefined"),
    ],
)
def test_verdicts(differences, step, verdict):
    differences = np.array(differences)
    assert judged(interval(differences), differences, interval(np.array(step))) == verdict


def test_the_coupling_error_is_that_of_the_step():
    """Uptake by growing cells in coarse steps of first order, against the same in steps eight times shorter."""
    cells = """{a: {count: 20, place: {random: {}}, volume: 4000 um^3, growth: 0.05 /min, mechanics: {fixed: true},
      cycle: {division: 1e-9 /min}, exchange: {drug: {uptake: 0.03 /min}}}}"""

    def coarse(step):
        return scene(
            "couplings: [{from: field.drug, to: rate.clearance, linear: {slope: 1}, mode: add}]",
            "perturbations: [{at: 0 h, scale: cell.volume, by: 0.1, cells: a}]",
            stop="1 h",
            step=step,
            splitting="lie",
            fields="{drug: {diffusion: 50 um^2/min, initial: 1 uM}}",
            cells=cells,
        )

    found = explain(coarse("30 min"), "mean(field.drug) @ 1 h", ("ablation",), seeds=3)
    fine = explain(coarse("225 s"), "mean(field.drug) @ 1 h", ("ablation",), seeds=3)
    error = found.attrs["baseline"] - fine.attrs["baseline"]
    assert found.attrs["coupling_error_lower"] * found.attrs["coupling_error_upper"] > 0
    assert found.attrs["coupling_error"] == pytest.approx(error, rel=0.5)
    assert rows(found)[0].verdict == "no effect"
    assert json.loads(found.attrs["splitting_error"])["field.drug"] > 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"methods": ("ablation", "shaply")}, "--method shaply: unknown; use 'ablation'"),
        ({"methods": ("ablatoin",)}, "did you mean 'ablation'"),
        ({"seeds": 1}, "at least 2"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_runs(options, words):
    with pytest.raises(ScenarioError, match=words.replace("?", r"\?")):
        explain(with_couplings(STRONG), "count(a) @ 1 h", **options)


def test_a_scenario_without_couplings_has_nothing_to_explain():
    with pytest.raises(ScenarioError, match="no couplings to cut"):
        explain(with_couplings(), "count(a) @ 1 h")


def test_couplings_of_the_same_name_are_told_apart():
    twice = [STRONG, STRONG.replace("slope: 4e-3", "slope: 1e-4")]
    found = explain(with_couplings(*twice, stop="1 h"), "count(a) @ 1 h", ("ablation",), seeds=2)
    assert sorted(r.quantity for r in rows(found)) == [
        "field.drug → rate.death (couplings[0])",
        "field.drug → rate.death (couplings[1])",
    ]


def test_the_table_has_what_a_reader_needs(found):
    lines = show.as_table(found).splitlines()
    assert lines[0].startswith("count(a) @ 4 h: ") and "4 seeds" in lines[0]
    assert "total effect" in lines[2] and "90 % interval" in lines[3]
    assert [line.split()[0] for line in lines[4:7]] == ["1", "2", "3"]
    assert "lowers" in lines[4] and "no effect" in lines[6]
    assert any("direct effect" in line for line in lines) and "coupling step itself" in lines[-1]


def test_json_has_a_row_for_each_coupling_and_method_in_order(found):
    plain = json.loads(show.to_json(found))
    assert [(r["method"], r["rank"]) for r in plain] == [
        (m, k) for m in ("ablation", "direct") for k in (1, 2, 3)
    ]
    first = rows(found)[0]
    assert plain[0] == {
        "quantity": "field.drug → rate.death",
        "on": "count(a) @ 4 h",
        "effect": first.effect,
        "lower": first.lower,
        "upper": first.upper,
        "relative": first.relative,
        "unit": "1",
        "kind": "total",
        "method": "ablation",
        "time": "4 h",
        "verdict": "lowers",
        "rank": 1,
        "note": first.note,
    }


def test_the_store_reads_back_and_is_never_overwritten(found, tmp_path):
    show.write(found, tmp_path / "why.zarr")
    back = xr.open_datatree(tmp_path / "why.zarr", engine="zarr", consolidated=False).load()
    assert rows(back) == rows(found) and back.attrs["outcome"] == "count(a) @ 4 h"
    np.testing.assert_array_equal(back["ablation/effect"].values, found["ablation/effect"].values)
    assert (tmp_path / "why.zarr.report" / "ranking.txt").read_text().startswith("count(a) @ 4 h")
    with pytest.raises(ScenarioError, match="exists"):
        show.write(found, tmp_path / "why.zarr")


def test_effects_whose_intervals_overlap_have_no_order():
    one, two, three = (
        Row(n, "x", e, e - 1, e + 1, e, "1", "total", "ablation", "1 h", "raises")
        for n, e in (("a", 10.0), ("b", 8.5), ("c", 2.0))
    )
    first, second, third = ranked([three, two, one])
    assert [r.quantity for r in (first, second, third)] == ["a", "b", "c"]
    assert "order with b: cannot tell" in first.note and not second.note and not third.note
