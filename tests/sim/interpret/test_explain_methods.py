"""The methods beside ablation, each on a small scenario whose answer is known."""

import numpy as np
import pytest
from scenes import scene

from sim.errors import ScenarioError
from sim.interpret.effects import rows_of
from sim.interpret.explain import METHODS, explain
from sim.interpret.over import Range, current, parse_over
from sim.interpret.question import Question
from sim.interpret.slopes import Inputs, slopes

#: growth towards what the drug makes of it: everything is a smooth function of the dose
MODEL = """
model growth
  compartment c = 1
  species A in c
  A = 1; drug = 0; k = 0.02; loss = 0.01
  making: -> A; c * k / (1 + drug)
  losing: A -> ; c * loss * A
end
"""


@pytest.fixture(scope="module")
def scenario(tmp_path_factory):
    folder = tmp_path_factory.mktemp("methods")
    (folder / "growth.ant").write_text(MODEL)
    return scene(
        "pathways: {g: {model: growth.ant, time_unit: min, growth: keeps_concentration}}",
        "couplings: [{from: field.drug, to: pathway.g.drug}]",
        "perturbations: [{at: 30 min, set: field.drug, to: 2 uM, where: everywhere}]",
        fields="{drug: {diffusion: 1e3 um^2/min, initial: 1 uM}}",
        cells="{a: {count: 3, place: {random: {}}, pathways: [g]}}",
        stop="2 h",
        every="10 min",
        step="5 min",
        folder=folder,
    )


OUTCOME = "mean(pathway.g.A, a) @ 2 h"


def asked(scenario, *methods, **options):
    return explain(scenario, OUTCOME, methods, seeds=2, **options)


def rows(tree, method):
    return {r.quantity: r for r in rows_of(tree["ranking"].to_dataset()) if r.method == method}


def exact(drug_before, drug_after, minutes=120.0, change=30.0, k=0.02):
    """A at the end: two stretches of relaxation."""
    a = 1.0
    for dose, length in ((drug_before, change), (drug_after, minutes - change)):
        goal = k / (1 + dose) / 0.01
        a = goal + (a - goal) * np.exp(-0.01 * length)
    return a


def test_ablation_clamp_and_scaling_are_what_the_equations_say(scenario):
    tree = asked(scenario, "ablation", "clamp", "scaling")
    name = "field.drug → pathway.g.drug"
    intact = exact(1, 2)
    assert tree.attrs["baseline"] == pytest.approx(intact, rel=1e-3)
    assert rows(tree, "ablation")[name].effect == pytest.approx(intact - exact(0, 0), rel=1e-2)
    assert rows(tree, "clamp")[name].effect == pytest.approx(intact - exact(1, 1), rel=1e-2)
    scaled = (exact(1.1, 2.2) - exact(0.9, 1.8)) / 0.2
    assert rows(tree, "scaling")[name].effect == pytest.approx(scaled, rel=1e-2)


def test_shares_of_reactions_sum_up_to_the_change(scenario):
    tree = asked(scenario, "share")
    found = rows(tree, "share")
    made, lost = found["pathway.g.making"].effect, found["pathway.g.losing"].effect
    rest = found["rest (dilution, births, steps between)"].effect
    assert made == pytest.approx(0.02 / 2 * 30 + 0.02 / 3 * 90, rel=0.02) and lost < 0
    assert made + lost + rest == pytest.approx(exact(1, 2) - 1, rel=1e-3)
    assert abs(rest) < 0.05 * made
    assert found["pathway.g (mechanism)"].effect == pytest.approx(exact(1, 2) - 1, rel=1e-3)


def test_local_slopes_and_responses_of_the_pathway_agree_with_the_equations(scenario):
    tree = asked(scenario, "local", "control", over=["pathway.g.k=0.01..0.04"])
    end = exact(1, 2)
    local = (exact(1, 2, k=0.021) - exact(1, 2, k=0.019)) / 0.1 / end
    assert rows(tree, "local")["pathway.g.k"].effect == pytest.approx(local, rel=1e-2)
    # by itself, with the drug of the end all along
    alone = exact(2, 2)
    within = (exact(2, 2, k=0.0201) - exact(2, 2, k=0.0199)) / 0.01 / alone
    found = rows(tree, "control")
    assert found["pathway.g.k"].effect == pytest.approx(within, rel=1e-3)
    assert found["pathway.g.k"].kind == "direct" and found["pathway.g.loss"].effect < 0
    level = tree["control"]["concentration_control of pathway.g"].values
    assert np.allclose(level, [[1, -1]], atol=1e-8)


def test_screening_tells_what_matters_from_what_does_not(scenario):
    over = ["pathway.g.k=0.01..0.04", "space.fields.drug.diffusion=500 um^2/min..2000 um^2/min"]
    tree = asked(scenario, "morris", "sobol", over=over, samples=2)
    for method in ("morris", "sobol"):
        found = rows(tree, method)
        assert found["pathway.g.k"].rank == 1
        other = found["space.fields.drug.diffusion"]
        assert abs(other.effect) < 0.01 * found["pathway.g.k"].effect
    assert tree["sobol"].sizes["parameter"] == 2 and tree["sobol"]["unit"].values[1] == "um^2/min"


def test_the_smallest_dose_that_passes_a_threshold_is_found_and_confirmed(scenario):
    threshold = exact(1, 4)
    tree = asked(scenario, "counterfactual", over=["perturbations[0].to=0 uM..8 uM"], threshold=threshold)
    row = rows(tree, "counterfactual")["perturbations[0].to"]
    assert row.verdict == "raises" and row.effect == pytest.approx(2.0, abs=0.15) and row.unit == "uM"
    assert "confirmed in 100% of the seeds" in row.note
    assert any("moves mean(pathway.g.A, a) @ 2 h below" in n for n in tree.attrs["notes"])
    never = asked(scenario, "counterfactual", over=["perturbations[0].to=1 uM..3 uM"], threshold=5.0)
    assert rows(never, "counterfactual")["perturbations[0].to"].verdict == "no effect"


def test_several_parameters_together_pass_a_threshold_with_less(scenario):
    over = ["perturbations[0].to=0 uM..8 uM", "pathway.g.k=0.005..0.04"]
    threshold = exact(1, 4)
    tree = asked(scenario, "counterfactual", over=over, threshold=threshold)
    found = rows(tree, "counterfactual")
    together = found["perturbations[0].to and pathway.g.k"]
    assert together.rank == 1 and together.verdict == "reaches it"
    shares = {
        n: abs(r.effect) / w
        for (n, r), w in zip(sorted(found.items()), (0.035, 8.0, 1.0))
        if n in over[0] + over[1]
    }
    assert 0 < together.effect < min(shares.values())
    assert "confirmed in 100% of the seeds" in together.note
    # the way there is along the slopes: both change, and the outcome is just past the threshold
    dose, k = (float(x.split(" to ")[1].split(" ")[0]) for x in together.note.split(";")[0].split(", "))
    assert dose > 2 and k < 0.02
    assert exact(1, dose, k=k) == pytest.approx(threshold, rel=0.01)


def test_a_wanted_state_is_reached_by_the_smallest_change(scenario):
    over = ["perturbations[0].to=0 uM..8 uM", "pathway.g.k=0.01..0.05"]
    wanted = exact(1, 2) * 0.8
    tree = asked(scenario, "reach", over=over, reach=[f"{OUTCOME} = {wanted}"])
    both, *alone = (r for r in rows_of(tree["ranking"].to_dataset()))
    assert both.quantity == "perturbations[0].to and pathway.g.k" and {r.rank for r in alone} == {2, 3}
    assert [r.verdict for r in (both, *alone)] == ["reaches it"] * 3
    assert both.effect < alone[0].effect < alone[1].effect
    data = tree["reach"]
    now = exact(1, 2)
    for dose, k, gave in zip(*data["value"].values.T, data["outcome"].values[:, 0, 0]):
        dose, k = (given if np.isfinite(given) else own for given, own in ((dose, 2.0), (k, 0.02)))
        assert gave == pytest.approx(exact(1, dose, k=k), rel=1e-3)
        assert abs(gave - wanted) <= 0.05 * abs(wanted - now)
    assert any("run again with every seed it gave" in n for n in tree.attrs["notes"])


def test_what_cannot_be_reached_falls_short(scenario):
    tree = asked(scenario, "reach", over=["pathway.g.k=0.01..0.03"], reach=[f"{OUTCOME} = 5"])
    (row,) = rows_of(tree["ranking"].to_dataset())
    assert row.verdict == "falls short" and "pathway.g.k to 0.03" in row.note


def test_a_search_begins_within_the_range(scenario):
    with pytest.raises(
        ScenarioError, match=r"pathway.g.k: the present value 0.02 is not within 1.0 to 2.0; widen"
    ):
        asked(scenario, "reach", over=["pathway.g.k=1..2"], reach=[f"{OUTCOME} = 1"])


def test_two_outcomes_are_wanted_at_once(scenario):
    early, late = exact(1, 1, minutes=30), exact(1, 2)
    goals = (0.9 * early, 1.1 * late)
    tree = asked(
        scenario,
        "reach",
        over=["pathway.g.k=0.005..0.04", "perturbations[0].to=0 uM..8 uM"],
        reach=[f"mean(pathway.g.A, a) @ 30 min = {goals[0]}", f"{OUTCOME} = {goals[1]}"],
    )
    both = rows_of(tree["ranking"].to_dataset())[0]
    assert both.verdict == "reaches it" and both.on.count("=") == 2
    k, dose = tree["reach"]["value"].values[0]
    assert exact(1, 1, minutes=30, k=k) == pytest.approx(goals[0], rel=0.01)
    assert exact(1, dose, k=k) == pytest.approx(goals[1], rel=0.01)


def test_slopes_of_a_pathway_come_from_its_gradient(scenario):
    question = Question(scenario, OUTCOME, seeds=2)
    inputs = Inputs(question.outcome, "pathway.g")
    question.watch(inputs)
    _ = question.intact
    found = slopes(question, inputs, ["k", "loss"])
    by_k = (exact(1, 2, k=0.0201) - exact(1, 2, k=0.0199)) / 2e-4
    assert found["k"] == pytest.approx(by_k, rel=1e-4) and found["loss"] < 0


@pytest.mark.parametrize(
    "text", ["mean(pathway.g.A, a) @ 1 h", "= 3", "count(a) @ 1 h = much", "count(a) @ 1 h = nan"]
)
def test_what_is_wanted_needs_a_value(scenario, text):
    with pytest.raises(ScenarioError, match="write it as OUTCOME = VALUE"):
        asked(scenario, "reach", over=["pathway.g.k=0.01..0.03"], reach=[text])


def test_methods_without_anything_to_work_on_say_so(scenario):
    tree = asked(scenario, "integrated_gradients")
    assert not rows(tree, "integrated_gradients")
    assert any("nothing to attribute" in n for n in tree.attrs["notes"])
    for method in ("local", "morris", "sobol"):
        with pytest.raises(ScenarioError, match="name the parameters with --over"):
            asked(scenario, method)
    with pytest.raises(ScenarioError, match="which value to reach"):
        asked(scenario, "counterfactual")
    with pytest.raises(ScenarioError, match="say what is wanted"):
        asked(scenario, "reach")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pathway.g.k", "write it as KEY=LOW..HIGH"),
        ("pathway.g.k=2..1", "must rise"),
        ("pathway.x.k=1..2", "no pathway 'x'"),
        ("tme.stop=1 h..2 h", "did you mean 'time'"),
        ("time.stop=1 h..2 min", "one unit"),
        ("pathway.g.k=0..2:log", "positive"),
    ],
)
def test_ranges_that_are_none_are_refused(scenario, text, words):
    with pytest.raises(ScenarioError, match=words):
        parse_over([text], scenario)


def test_ranges_know_their_unit_and_the_present_value(scenario):
    found = parse_over(["perturbations[0].to=0.5 uM..50 uM", "pathway.g.k=0.01..0.04"], scenario)
    dose, k = found.values()
    assert dose == Range("perturbations[0].to", "perturbations[0].to", 0.5, 50.0, "uM", True)
    assert dose.at(0.5) == pytest.approx(5.0) and dose.share(5.0) == pytest.approx(0.5)
    assert k.key == "pathways.g.set.k" and not k.log
    question = Question(scenario, OUTCOME, seeds=2, over=found)
    assert current(dose, question) == 2.0 and current(k, question) == pytest.approx(0.02)


def test_every_method_is_named_in_the_help():
    from sim.commands.runs import explain as command

    said = str(command.__annotations__["method"])
    assert all(m in said for m in METHODS)
