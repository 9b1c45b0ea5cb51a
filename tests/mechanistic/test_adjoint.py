"""Gradients by the adjoint, against forward sensitivities, closed forms and differences; events included."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from pathway_examples import CHAIN, ENZYME

from mechanistic import load_model
from mechanistic.codegen.accumulate import along, weighted
from mechanistic.codegen.derivatives import jacobian
from mechanistic.codegen.graph import Graph
from mechanistic.codegen.numeric import evaluate
from mechanistic.codegen.switched import SwitchedSystem
from mechanistic.errors import IntegrationError, ModelError
from mechanistic.solvers.discrete_adjoint import back, driver
from mechanistic.solvers.discrete_adjoint.jumps import Jump, Jumps, Moments

FALL = """model m; compartment c = 1; height = 10; speed = 0; g = 9.81; r = 0.8
height' = speed; speed' = -g; bounce: at height < 0, fromTrigger=false: speed = -r*speed, height = 0; end"""
DOSES = """model m; compartment c = 2; species A in c, B in c; A = 0; B = 0; k = 0.7; loss = 0.3; dose = 4; first = 1
R: A -> B; c*k*A; D: B -> ; c*loss*B
one: at time >= first: A = A + dose; two: at time >= first + 2: A = A + 2*dose; end"""
# a dose when the drug has fallen to a level: its time depends on every parameter
REFILL = """model m; compartment c = 1; species A in c, B in c; A = 5; B = 0; k = 0.9; low = 1; top = 6; n = 2
R: A -> B; c*k*A^n/(1 + A^n); E: at A < low: A = A + top; end"""
THRESHOLD = """model m; compartment c = 1; species A in c, B in c; A = 3; B = 0; k = 0.8; level = 1; fast = 5
R: A -> ; c*k*A; S: -> B; c*piecewise(fast, A < level, 0.5); end"""
MODELS = {
    "chain": (CHAIN, ("k1", "A", "D", "c"), [0.0, 1.0, 4.0]),
    "enzyme": (ENZYME, ("k_fast", "k_back", "k_cat", "S"), [0.1, 1.0, 4.0]),
    "doses": (DOSES, ("k", "loss", "dose", "first", "c"), [0.5, 2.5, 3.5, 6.0]),
    "refill": (REFILL, ("k", "low", "top", "n", "A"), [1.0, 5.0, 12.0, 23.0]),
    "threshold": (THRESHOLD, ("k", "level", "fast", "A"), [0.7, 1.2, 3.0]),
}  # fmt: skip


def differences(model, parameter, value, times, names):
    """Central differences of fourth order of a course at tight tolerance, (time, names)."""
    h = 1e-3 * abs(value)
    course = model.adjoint(
        times, (parameter,), cells=4, values={parameter: value + h * np.array([-2, -1, 1, 2])},
        outputs=names, rtol=1e-12, atol=1e-16,
    ).outputs  # fmt: skip
    return (8 * (course[2] - course[1]) - (course[3] - course[0])) / (12 * h)


@pytest.fixture(scope="module", params=MODELS)
def example(request):
    text, parameters, times = MODELS[request.param]
    return load_model(text), parameters, times


def test_forward_equals_differences(example):
    model, parameters, times = example
    names = model.network.species_ids
    found = model.sensitivities(times, parameters, rtol=1e-10)
    for p, parameter in enumerate(parameters):
        expected = differences(model, parameter, found["parameter_value"].values[0, p], times, names)
        ours = np.stack([found[n].values[0, :, p] for n in names], axis=1)
        tolerance = 1e-6 * max(np.abs(expected).max(), 1e-3)
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=tolerance, err_msg=parameter)


def test_adjoint_equals_forward(example):
    """Eleven cells with different courses, so that lanes differ; each cell alone gives the same bits."""
    model, parameters, times = example
    names, cells = model.network.species_ids, 11
    base = model.sensitivities([times[0]], parameters)["parameter_value"].values[0, 0]
    values = {parameters[0]: base * np.linspace(0.8, 1.2, cells)}
    run = model.adjoint(times, parameters, cells=cells, values=values, rtol=1e-9)
    weights = np.random.default_rng(0).normal(size=run.outputs.shape)
    found = run.pull_back(weights)
    forward = model.sensitivities(times, parameters, cells=cells, values=values, rtol=1e-9)
    slopes = np.stack([forward[n].values for n in names], axis=2)
    expected = np.einsum("ctn,ctnp->cp", weights, slopes)
    size = np.einsum("ctn,ctnp->cp", np.abs(weights), np.abs(slopes))
    assert np.all(np.abs(found.values - expected) <= 1e-6 * size + 1e-12)
    alone = model.adjoint(times, parameters, values={parameters[0]: values[parameters[0]][3]}, rtol=1e-9)
    assert np.array_equal(alone.outputs[0], run.outputs[3])
    assert np.array_equal(alone.pull_back(weights[3:4]).values[0], found.values[3])


def test_forwards_and_back_have_the_bits_of_python(example, monkeypatch):
    model, parameters, times = example

    def both():
        run = model.adjoint(times, parameters, cells=3, rtol=1e-4)
        slopes = model.sensitivities(times, parameters[:1], rtol=1e-4)
        gradient = run.pull_back(np.linspace(1, 2, run.outputs.size).reshape(run.outputs.shape))
        return run.outputs, gradient.values, *(slopes[name].values for name in model.network.species_ids)

    compiled = both()
    monkeypatch.setattr(driver._record, "on", lambda *first: partial(driver._record.python, *first))
    monkeypatch.setattr(back._pull, "on", lambda *first: partial(back._pull.python, *first))
    for straight, quick in zip(both(), compiled):
        assert straight.tobytes() == quick.tobytes()


def test_course_equals_simulate(example):
    model, parameters, times = example
    run = model.adjoint(times, parameters, rtol=1e-10)
    expected = model.simulate(times, rtol=1e-10, atol=1e-13)
    for name in model.network.species_ids:
        np.testing.assert_allclose(run.course[name], expected[name], rtol=1e-6, atol=1e-8, err_msg=name)


def test_a_bouncing_ball():
    """Height and speed after one bounce, and their derivatives, in closed form."""
    model, t, h, g, r = load_model(FALL), 2.0, 10.0, 9.81, 0.8
    found = model.sensitivities([t], ("g", "r"), rtol=1e-10)
    hit = np.sqrt(2 * h / g)
    hit_by_g = -hit / (2 * g)
    up, later = r * g * hit, t - hit
    up_by_g = r * (hit + g * hit_by_g)
    height = (up_by_g * later - up * hit_by_g - later**2 / 2 + g * later * hit_by_g, g * hit * later)
    np.testing.assert_allclose(found["height"].values[0, 0], height, rtol=1e-8)
    np.testing.assert_allclose(
        found["speed"].values[0, 0], (up_by_g - later + g * hit_by_g, g * hit), rtol=1e-8
    )
    run = model.adjoint([t], ("g", "r"), outputs=("height", "speed"), rtol=1e-10)
    for k, expected in enumerate((height, (up_by_g - later + g * hit_by_g, g * hit))):
        weights = np.zeros((1, 1, 2))
        weights[..., k] = 1.0
        np.testing.assert_allclose(run.pull_back(weights).values[0], expected, rtol=1e-8)


def test_doses_in_closed_form():
    t, k = 6.0, 0.7
    found = load_model(DOSES).sensitivities([t], ("k", "dose", "first"), rtol=1e-10)["A"].values[0, 0]
    one, two = np.exp(-k * (t - 1)), np.exp(-k * (t - 3))
    expected = (-4 * (t - 1) * one - 8 * (t - 3) * two, one + 2 * two, k * (4 * one + 8 * two))
    np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_relaxations_that_a_state_at_rest_does_not_show():
    """X rests at a/k: dX/dk = -a/k^2 (1 - exp(-k t)), at rates that no step of the state tells of."""
    times, a = np.array([0.0, 1.0, 3.0, 30.0]), 2.0
    text = "model m; compartment c = 1; species X in c, Y in c; X = 2; Y = 40; a = 2; fast = 1; slow = 0.05\n"
    model = load_model(text + "A: -> X; c*a; B: X -> ; c*fast*X; C: -> Y; c*a; D: Y -> ; c*slow*Y; end")
    run = model.adjoint(times, ("fast", "slow"), rtol=1e-6)
    for i, k in enumerate((1.0, 0.05)):
        for f, t in enumerate(times):
            weights = np.zeros(run.outputs.shape)
            weights[0, f, i] = 1.0
            expected = -a / k**2 * (1 - np.exp(-k * t))
            assert abs(run.pull_back(weights).values[0, i] - expected) < 2e-6 * a / k**2


def test_gradient_of_any_quantity():
    model = load_model(CHAIN)
    run = model.adjoint([1.0, 2.0], ("k1", "c"), outputs=("R2", "amount.B", "half"))
    found = run.pull_back({"R2": 1.0, "half": np.array([[3.0, 0.0]])}).values[0]
    sums = []
    for parameter, value in (("k1", 0.5), ("c", 2.0)):
        slopes = differences(model, parameter, value, [1.0, 2.0], ("R2", "half"))
        sums.append(slopes[:, 0].sum() + 3 * slopes[0, 1])
    np.testing.assert_allclose(found, sums, rtol=1e-7, atol=1e-9)
    with pytest.raises(KeyError, match="'A' is not among the outputs"):
        run.pull_back({"A": 1.0})
    with pytest.raises(ValueError, match="weights must be"):
        run.pull_back(np.zeros((1, 1, 3)))
    with pytest.raises(ModelError, match="'nobody' is not in the model"):
        model.adjoint([1.0], ("k1",), outputs=("nobody",))


def test_torch_agrees_with_differences():
    torch = pytest.importorskip("torch")
    course = load_model(ENZYME).differentiable([0.5, 2.0], ("k_cat", "S", "E"), ("P", "ES"), rtol=1e-11)
    values = torch.tensor([[2.0, 5.0, 1.0], [1.0, 4.0, 2.0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(course, (values,), eps=1e-5, atol=1e-6, rtol=1e-5)
    course(values)[..., 0].sum().backward()
    assert values.grad is not None and values.grad.shape == (2, 3)
    with pytest.raises(ValueError, match=r"values must be \(cell, 3\)"):
        course(torch.zeros(2))


def test_a_condition_that_is_only_touched_is_refused():
    """At the lowest point of a parabola the time of the crossing has no derivative."""
    model = load_model("model m; x = 1; v = -2; k = 1; n = 0; x' = v; v' = 2*k; E: at x < 0: n = n + 1; end")
    jumps = Jumps(SwitchedSystem(model.network))
    at = {name: i for i, name in enumerate(model.network.state_ids)}
    state, along = np.zeros((1, len(at))), np.zeros((1, len(model.network.settable_ids)))
    touched = Moments(np.array([2]), np.ones(1), state, np.zeros((1, 1)), np.ones((3, along.shape[1])))
    jump = Jump(np.zeros(1, int), touched, touched, (), np.zeros((1, 2), int))
    with pytest.raises(IntegrationError, match="cell 2 at time 1: a condition is touched and not crossed"):
        jumps.tangent(jump, state, along)
    state[0, at["v"]] = -1.0
    np.testing.assert_allclose(jumps.tangent(jump, np.ones_like(state), along), 1.0)


def test_a_rate_that_ends_where_an_event_begins():
    """X rises to the level, at which an event lifts it and its rate ends: nothing of the rise remains."""
    text = "model m; X = x0; x0 = 1; a = 2; top = 5; lift = 3; n = 0; X' = piecewise(a, X <= top, 0); n' = X;"
    model = load_model(text + "E: at X >= top: X = X + lift; end")
    times, parameters = [1.0, 4.0], ("x0", "a", "top", "lift")
    found = model.sensitivities(times, parameters, rtol=1e-10)
    np.testing.assert_allclose(found["X"].values[0], [[1, 1, 0, 0], [0, 0, 1, 1]], atol=1e-12)
    # n = (top^2 - x0^2) / (2 a) + (top + lift) (t - (top - x0) / a)
    np.testing.assert_allclose(found["n"].values[0, 1], [3.5, 5.0, 0.5, 2.0], rtol=1e-9)
    run = model.adjoint(times, parameters, outputs=("X", "n"), rtol=1e-10)
    weights = np.array([[[0.3, -1.0], [2.0, 0.7]]])
    slopes = np.stack([found["X"].values[0], found["n"].values[0]], -1)
    np.testing.assert_allclose(
        run.gradient(weights)[0], np.einsum("to,tpo->p", weights[0], slopes), rtol=1e-9
    )


def test_a_ball_that_bounces_ever_faster_is_refused():
    ball = load_model(FALL.replace("r = 0.8", "r = 0.2"))
    with pytest.raises(IntegrationError, match=r"without end near time 2\.1"):
        ball.adjoint([4.0], ("g",), outputs=("height",))


def test_accumulation_equals_the_jacobian():
    graph = Graph()
    x, y, u, v, a = (graph.input(i) for i in range(5))
    power, exp = graph.op("^", x, y), graph.op("exp", graph.op("neg", y))
    chosen = graph.op("select", graph.op("<", x, y), power, graph.op("/", exp, x))
    outputs = [graph.op("*", power, exp), chosen, graph.op("max", graph.op("ln", x), graph.op("sqrt", y))]
    entries = jacobian(graph, outputs, [x, y])
    inputs = [1.7, 0.6, 0.3, -2.0, 0.9]
    matrix = np.zeros((3, 2))
    for at, value in zip(entries, evaluate(graph, list(entries.values()), inputs)):
        matrix[at] = value
    found = evaluate(graph, along(graph, outputs, {x: u, y: v}), inputs)
    np.testing.assert_allclose(found, matrix @ [0.3, -2.0], rtol=1e-14)
    found = evaluate(graph, weighted(graph, outputs, [u, v, a], [x, y]), inputs)
    np.testing.assert_allclose(found, np.array([0.3, -2.0, 0.9]) @ matrix, rtol=1e-14)
