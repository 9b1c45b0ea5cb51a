"""A network as the response of a coupling becomes a formula; the run with the formula is the run with the network."""

import numpy as np
import pytest
from scenes import scene

from neural import ResponseNetwork
from sim.interpret.effects import rows_of
from sim.interpret.explain import explain


def saturating(path):
    """A network that says nearly 4e-3 x / (0.5 + x) for x between 0 and 3, fitted by least squares."""
    x = np.linspace(0, 3, 200)
    law = 4e-3 * x / (0.5 + x)
    rng = np.random.default_rng(0)
    w1, b1 = rng.normal(0, 2, (1, 24)), rng.normal(0, 2, 24)
    hidden = np.column_stack([np.tanh(x[:, None] @ w1 + b1), np.ones_like(x)])
    factors = np.linalg.lstsq(hidden, law, rcond=1e-8)[0]
    network = ResponseNetwork(w1, b1, factors[:-1], factors[-1])
    assert np.abs(network(x) - law).max() < 2e-5
    network.save(path / "response.safetensors")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("formula")
    saturating(folder)
    scenario = scene(
        "couplings: [{from: field.drug, to: rate.death, network: {weights: response.safetensors}}]",
        "perturbations: [{at: 6 min, every: 12 min, until: 110 min, add: field.drug, by: 0.25 uM, where: everywhere}]",
        fields="{drug: {diffusion: 1e3 um^2/min, initial: 0.02 uM}}",
        cells="{a: {count: 40, place: {random: {}}}}",
        every="12 min",
        folder=folder,
    )
    return explain(scenario, "count(a) @ 2 h", ("distil", "integrated_gradients"), seeds=2)


def test_the_law_is_found(found):
    term, whole = sorted(
        (r for r in rows_of(found["ranking"].to_dataset()) if r.method == "distil"),
        key=lambda r: r.kind,
    )
    assert term.quantity == "rate.death" and "field.drug" in term.on
    assert "Michaelis-Menten" in term.note and term.effect > 0.99 and term.verdict == "matters"
    assert whole.kind == "total" and whole.on == "count(a) @ 2 h"


def test_the_run_with_the_formula_reproduces_the_outcome(found):
    whole = next(
        r for r in rows_of(found["ranking"].to_dataset()) if r.method == "distil" and r.kind == "total"
    )
    assert abs(whole.effect) <= 1.0
    assert any("With formulas in place of every learned term" in n for n in found.attrs["notes"])


def test_network_and_formula_are_kept_as_curves(found):
    curve = found["distil"]["curve 0.0"]
    x, network, formula = curve.values
    assert curve.attrs["input"] == "field.drug" and len(x) == len(network)
    assert np.abs(network - formula).max() < 0.05 * network.max()


def test_a_network_of_one_input_is_attributed_to_it(found):
    (row,) = (r for r in rows_of(found["ranking"].to_dataset()) if r.method == "integrated_gradients")
    assert row.quantity == "field.drug" and row.on == "rate.death" and row.unit == "1/min"
    assert row.relative == pytest.approx(1.0, rel=1e-3) and row.verdict == "raises"
