"""Our numbers held against tellurium's, and models told in Antimony that read back to the same equations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pathway_examples import CHAIN, ENZYME

from mechanistic import load_model
from mechanistic.errors import IntegrationError, ModelError
from mechanistic.reference import control_coefficients, steady_state, time_course

MODELS = Path(__file__).resolve().parents[2] / "scenarios" / "models"
SHIPPED = sorted(MODELS.glob("*.xml"))

# X -> S1 -> S2 -> nothing, with saturation, so that control is shared.
PATHWAY = """model pathway
  compartment c = 2;
  species S1 in c, S2 in c, $X in c;
  X = 4; S1 = 0.1; S2 = 0.1; v1 = 2; v2 = 3; v3 = 2.5; back = 0.2;
  J1: $X -> S1; c * (v1 * X / (1 + X + S1) - back * S1);
  J2: S1 -> S2; c * v2 * S1 / (1 + S1);
  J3: S2 -> ; c * v3 * S2 / (0.5 + S2);
end
"""


@pytest.mark.parametrize("text", [CHAIN, ENZYME, PATHWAY])
def test_time_courses(text):
    model, times = load_model(text), np.linspace(0, 5, 11)
    theirs = time_course(model.network, times)
    ours = model.simulate(times, rtol=1e-9, atol=1e-12)
    for s in model.network.species_ids:
        np.testing.assert_allclose(ours[s].values[0], theirs[s], rtol=1e-6, atol=1e-9, err_msg=s)


def test_a_parameter_reaches_what_follows_from_it():
    model, times = load_model(CHAIN), [0.0, 1.0, 2.0]
    theirs = time_course(model.network, times, {"k1": 0.9})
    ours = model.simulate(times, parameters={"k1": 0.9}, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ours["B"].values[0], theirs["B"], rtol=1e-6)


def test_steady_states_and_control_coefficients():
    model = load_model(PATHWAY)
    theirs, ours = steady_state(model.network), model.steady_state()
    for s in ("S1", "S2"):
        assert ours[s].item() == pytest.approx(theirs[s], rel=1e-6)
    expected, found = control_coefficients(model.network), model.control_coefficients()
    for name, values in expected.items():
        # finite differences are good to about 1e-5
        np.testing.assert_allclose(found[name].values[0], values, atol=1e-4, err_msg=name)
    assert not np.allclose(expected["flux_control"][0], [1, 0, 0], atol=0.05)


def test_a_conserved_sum_is_kept():
    text = ENZYME.replace("k_cat * ES", "k_cat * ES - 0.1 * P * E")
    model = load_model(text)
    theirs, ours = steady_state(model.network), model.steady_state()
    assert theirs["E"] + theirs["ES"] == pytest.approx(1)
    assert ours["ES"].item() == pytest.approx(theirs["ES"], rel=1e-6)


def test_what_the_oracle_cannot_do_is_named():
    grows = load_model("compartment c = 1; species x in c; x = 1; R: -> x; c;")
    with pytest.raises(IntegrationError, match="no steady state"):
        steady_state(grows.network)


def test_nothing_is_written_where_results_go(capfd):
    model = load_model("model m\n  x = 1;\n  x' = x^2;\nend\n")
    with pytest.raises(IntegrationError):
        model.simulate([0, 2], method="roadrunner")
    with pytest.raises(IntegrationError):
        time_course(model.network, [0, 2])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("file", SHIPPED, ids=lambda f: f.stem)
def test_a_shipped_model_told_in_antimony_runs_the_same(file):
    model = load_model(file)
    again = load_model(model.to_antimony())
    times = np.linspace(0, 20, 5)
    first, second = (m.simulate(times, rtol=1e-9, atol=1e-12) for m in (model, again))
    for s in model.network.species_ids:
        np.testing.assert_allclose(second[s].values, first[s].values, rtol=1e-9, atol=1e-12, err_msg=s)
    assert set(again.network.reaction_ids) == set(model.network.reaction_ids)


def test_a_model_written_as_sbml_reads_back():
    model = load_model(CHAIN)
    again = load_model(model.to_sbml())
    assert again.network.species_ids == model.network.species_ids
    assert again.to_sbml() == model.to_sbml()


def test_what_antimony_has_no_words_for_is_named():
    model = load_model(CHAIN)
    broken = replace(model.network, source="<sbml/>")
    with pytest.raises(ModelError, match="Antimony cannot say this model"):
        type(model)(broken).to_antimony()
