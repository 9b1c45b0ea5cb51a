"""The methods beside ablation, each on a small scenario whose answer is known."""

import numpy as np
import pytest
from scenes import scene

from sim.errors import ScenarioError
from sim.interpret.effects import rows_of
from sim.interpret.explain import METHODS, explain
from sim.interpret.over import Range, current, parse_over
from sim.interpret.question import Question

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


def test_methods_without_anything_to_work_on_say_so(scenario):
    tree = asked(scenario, "integrated_gradients")
    assert not rows(tree, "integrated_gradients")
    assert any("nothing to attribute" in n for n in tree.attrs["notes"])
    for method in ("local", "morris", "sobol"):
        with pytest.raises(ScenarioError, match="name the parameters with --over"):
            asked(scenario, method)
    with pytest.raises(ScenarioError, match="which value to reach"):
        asked(scenario, "counterfactual")


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
