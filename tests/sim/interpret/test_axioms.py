"""What an attribution must satisfy whatever it is applied to: the axioms that make its numbers mean something."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from mechanistic import load_model
from sim import Scenario
from sim.interpret.methods.attribution import Attribution, integrated, jacobian, sloped
from sim.interpret.methods.screening import problem_of, sobol_design, sobol_indices
from sim.interpret.networks import Term, cell_terms, tissue_process
from sim.interpret.question import Question
from sim.interpret.tissue_influence import influence_of

SHIPPED = Path(__file__).resolve().parents[3] / "scenarios"


@pytest.fixture(scope="module")
def question():
    scenario = Scenario.load(SHIPPED / "quickstart.yaml", overrides={"time.stop": "8 h"})
    return Question(scenario, "count(pc9) @ 1 h", seeds=2)


@pytest.fixture(scope="module")
def started(question):
    return question.bench.at_start(question.seeds[0])


def spread(term: Term, count=40, seed=0):
    """Inputs all over the place where the weights were trained."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, (count, len(term.inputs)))
    for k, name in enumerate(term.inputs):
        if name.startswith(("condition.", "message.")):
            x[:, k] = rng.uniform(0, 0.5, count)
    return x


def test_integrated_gradients_are_complete(question):
    terms = cell_terms(question)
    assert [t.name for t in terms] == ["manipulator.drugs", "decoder of drugs"]
    for term in terms:
        shares, moved = integrated(term, spread(term))
        left = np.abs(shares.sum(axis=2) - moved)
        assert left.max(axis=0) == pytest.approx(0, abs=1e-3 * np.abs(moved).max()), term.name
        assert np.all(left <= 1e-3 * np.abs(moved).max(axis=0))


def test_gradients_are_the_slopes(question):
    term = cell_terms(question)[1]
    x = spread(term, 5)
    slopes = jacobian(term, x)
    import torch

    for k in range(len(term.inputs)):
        step = np.zeros_like(x)
        step[:, k] = 1e-6
        with torch.no_grad():
            ends = [term.function(torch.tensor(x + s * step)).numpy() for s in (1, -1)]
        assert np.allclose(slopes[:, :, k], (ends[0] - ends[1]) / 2e-6, rtol=1e-4, atol=1e-12)


def test_an_input_that_is_at_its_baseline_gets_nothing(question):
    term = cell_terms(question)[0]
    x = spread(term, 6)
    x[:, 3] = term.baseline[3]
    for explain in (integrated, sloped):
        assert np.all(explain(term, x)[0][:, :, 3] == 0)


def test_intervals_hold_what_other_wells_would_have_taught(question):
    """Two seeds that agree make a narrow interval; what the ensemble's folds disagree about makes it wider."""
    attribution = Attribution(question, "gradients")
    rows = {(r.on, r.quantity): r for r in attribution.answer().rows}
    term = cell_terms(question)[1]
    assert len(term.without) == 5
    looks = [values[1] for _, values in attribution.seen[0]]
    doubt = attribution._doubt(term, looks, sloped)
    assert doubt.shape == (len(term.outputs), len(term.inputs))
    o, i = np.unravel_index(doubt.argmax(), doubt.shape)
    row = rows[term.outputs[o], term.inputs[i]]
    assert (row.upper - row.lower) / 2 >= doubt[o, i] > 0
    alone = replace(term, without=())
    assert not attribution._doubt(alone, looks, sloped).any()


def test_what_neighbours_tell_is_shared_out_completely(question, started):
    process = tissue_process(question)
    assert process is not None
    found = influence_of(process, started)
    total = sum(found.share(part, 0) for part in found.parts)
    assert found.change[:, 0].mean() > 0.01
    assert total == pytest.approx(found.change[:, 0].mean(), rel=1e-3)
    assert any("of neighbours pc9" in p for p in found.parts) and np.isfinite(found.exerted).all()


def test_a_network_with_random_parameters_loses_the_ranking(question):
    """Sanity of attributions (Adebayo 2018): they are of what was learned, not of the architecture."""
    import torch

    process = question.simulation.plan.processes[
        [p.name for p in question.simulation.plan.processes].index("manipulator.drugs")
    ]
    term = cell_terms(question)[1]
    x = spread(term, 30)
    trained = np.abs(integrated(term, x)[0]).mean(axis=0).ravel()
    again = np.abs(integrated(term, spread(term, 30, seed=9))[0]).mean(axis=0).ravel()
    assert spearmanr(trained, again).statistic > 0.9
    _, decoders = process.network._reference  # type: ignore[attr-defined]
    kept = {k: v.clone() for k, v in decoders.state_dict().items()}
    generator = torch.Generator().manual_seed(1)
    agreed = []
    try:
        for _ in range(12):
            # the same numbers in other places: as large as before, and nothing learned
            shuffled = {
                k: v.flatten()[torch.randperm(v.numel(), generator=generator)].reshape(v.shape)
                if k in ("readout", "pattern")
                else v
                for k, v in kept.items()
            }
            decoders.load_state_dict(shuffled)
            of_rates = [
                spearmanr(a, b).statistic
                for a, b in zip(
                    np.abs(integrated(term, x)[0]).mean(axis=0)[:, :6],
                    trained.reshape(-1, len(term.inputs))[:, :6],
                )
            ]
            agreed.append(np.mean(of_rates))
    finally:
        decoders.load_state_dict(kept)
    assert abs(np.mean(agreed)) < 0.3


PATHWAY = """
model branch
  compartment c = 1
  species S1 in c, S2 in c, $X in c, $P in c, $Q in c
  X = 2; P = 0.1; Q = 0.05; S1 = 1; S2 = 1
  v1: $X -> S1; c * (1.5 * X - 0.5 * S1) / (1 + X + S1)
  v2: S1 -> S2; c * 2 * S1 / (0.7 + S1)
  v3: S2 -> $P; c * (1.1 * S2 - 0.2 * P)
  v4: S2 -> $Q; c * 0.4 * S2
end
"""


def test_summation_and_connectivity_theorems():
    """Kacser and Burns 1973; Heinrich and Rapoport 1974."""
    found = load_model(PATHWAY).control_coefficients().isel(cell=0)
    flux, level = found["flux_control"], found["concentration_control"]
    elasticity = found["elasticity"]
    assert np.allclose(flux.sum("reaction"), 1, atol=1e-8)
    assert np.allclose(level.sum("reaction"), 0, atol=1e-8)
    assert np.allclose(flux.values @ elasticity.values, 0, atol=1e-8)
    assert np.allclose(level.values @ elasticity.values, -np.eye(2), atol=1e-8)


def test_sobol_indices_of_ishigamis_function_lie_in_their_intervals():
    a, b = 7.0, 0.1
    over = dict.fromkeys(("x1", "x2", "x3"))
    problem = problem_of(over)  # type: ignore[arg-type]
    design = sobol_design(problem, 1024, 1)
    x = -np.pi + 2 * np.pi * design
    y = np.sin(x[:, 0]) + a * np.sin(x[:, 1]) ** 2 + b * x[:, 2] ** 4 * np.sin(x[:, 0])
    found = sobol_indices(problem, y, 1)
    variance = a**2 / 8 + b * np.pi**4 / 5 + b**2 * np.pi**8 / 18 + 0.5
    first = np.array([0.5 * (1 + b * np.pi**4 / 5) ** 2, a**2 / 8, 0]) / variance
    total = first + np.array([8 * b**2 * np.pi**8 / 225, 0, 8 * b**2 * np.pi**8 / 225]) / variance
    assert np.all(np.abs(found["S1"] - first) <= found["S1_conf"] + 1e-3)
    assert np.all(np.abs(found["ST"] - total) <= found["ST_conf"] + 1e-3)
    assert np.all(found["ST_conf"] < 0.12)


def test_an_outcome_that_never_changes_has_no_indices():
    problem = problem_of({"x": None, "y": None})  # type: ignore[dict-item]
    design = sobol_design(problem, 8, 1)
    assert not sobol_indices(problem, np.ones(len(design)), 1)["ST"].any()
