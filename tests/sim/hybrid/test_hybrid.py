"""A network inside a pathway: what it computes, what it keeps, and its exact gradient."""

import numpy as np
import pytest
import torch

from mechanistic import PathwayModel, load_model
from mechanistic.errors import ModelError
from mechanistic.joining import joined
from neural.sciml import SciMLNetwork, dense
from neural.sciml.description import Description, Layer, Step
from sim.hybrid import CannotInline, Gives, Hybrid, Joint, Rate, Sets, Starts
from sim.hybrid.activations import ACTIVATIONS, OVER_ALL
from sim.hybrid.inline import inlined

CHAIN = """
model chain
  compartment c = 2; species A in c, B in c, C in c; A = 5; B = 1; C = 0.5; k = 0.3; s = 1
  R: A -> B; c*k*A
  refill: at A < 2: A = A + 3
end"""
TIMES = [0.0, 1.0, 2.5, 6.0]


@pytest.fixture(scope="module")
def hybrid():
    learned = Joint(
        "learned", ("B", "C", "time"), Rate({"B": -1, "C": 1}, times=("B",)), positive=True, widths=(4, 3)
    )
    read = Joint("read", ("C",), Gives("seen"), widths=(3,), activation="silu", input_scales=(2.0,))
    return Hybrid(CHAIN, [learned, read])


def _value(network, inputs):
    with torch.no_grad():
        return network(torch.tensor(inputs, dtype=torch.float64)).numpy()


def test_inside_the_model_it_computes_what_torch_does(hybrid):
    course = hybrid.simulate(TIMES)
    term = hybrid.term("read")
    expected = term(course["C"].values[0][:, None])[:, 0]
    assert course["seen"].values[0] == pytest.approx(expected, rel=1e-12)
    samples = hybrid.samples("learned", course)
    rate = hybrid.term("learned")(samples)[:, 0] * course["B"].values[0] * 2.0
    assert course["learned"].values[0] == pytest.approx(rate, rel=1e-10)


def test_a_rate_keeps_mass_whatever_the_network_says():
    closed = CHAIN.replace("refill: at A < 2: A = A + 3", "")
    for seed in range(3):
        joint = Joint("learned", ("A", "B"), Rate({"B": -1, "C": 1}, times=("B",)), seed=seed, positive=True)
        course = Hybrid(closed, [joint]).simulate(TIMES)
        total = (course["A"] + course["B"] + course["C"]).values
        assert total == pytest.approx(np.full_like(total, 6.5), rel=1e-12)
        assert min(course[s].values.min() for s in "ABC") >= 0.0


def test_backwards_equals_forwards_through_an_event(hybrid):
    ids = [*hybrid.weight_ids("learned"), *hybrid.weight_ids("read"), "k"]
    outputs = ("B", "seen")
    slopes = hybrid.model._sensitivities.slopes(TIMES, ids, outputs=outputs)
    run = hybrid.model.adjoint(TIMES, ids, outputs=outputs)
    weights = np.random.default_rng(1).normal(size=run.outputs.shape)
    back = run.gradient(weights)[0]
    forward = np.einsum("cto,ctpo->p", weights, slopes.slopes)
    assert back == pytest.approx(forward, rel=1e-5, abs=1e-7 * np.abs(forward).max())


def test_the_layer_has_the_gradient_of_its_values(hybrid):
    layer = hybrid.layer(TIMES, parameters=("k",), outputs=("C",))
    names = [name for name, _ in layer.named_parameters()]
    values = tuple(p.detach().clone().requires_grad_() for p in layer.parameters())

    def course(*given):
        return torch.func.functional_call(layer, dict(zip(names, given)), ())

    assert torch.autograd.gradcheck(course, values, eps=1e-5, atol=1e-6, rtol=1e-4)
    expected = hybrid.simulate(TIMES, rtol=1e-9)["C"].values
    assert layer()[..., 0].detach().numpy() == pytest.approx(expected, rel=1e-6)


def test_before_the_simulation_it_sets_what_cells_start_from():
    joint = Joint("prior", ((1, 4, 4),), (Starts("k"), Starts("B")), _image(), positive=True)
    hybrid = Hybrid(CHAIN, [joint])
    layer = hybrid.layer(TIMES, outputs=("A", "B"))
    images = torch.randn(3, 1, 4, 4, dtype=torch.float64)
    found = layer({"prior": images})
    network = SciMLNetwork(joint.description())
    network.set_weights(hybrid.weights["prior"])
    with torch.no_grad():
        values = torch.nn.functional.softplus(network(images)).numpy()
    model = load_model(CHAIN)
    expected = model.simulate(
        TIMES, cells=3, parameters={"k": values[:, 0]}, initial={"B": values[:, 1]}, rtol=1e-9
    )
    assert found[..., 1].detach().numpy() == pytest.approx(expected["B"].values, rel=1e-6)
    found.square().sum().backward()
    assert all(float(p.grad.abs().max()) > 0 for p in layer.networks["prior"].parameters())


def test_what_comes_from_outside_is_set_like_a_parameter():
    hybrid = Hybrid(CHAIN, [Joint("n", ("message",), Sets("s"), widths=())], constants={"message": 0.5})
    course = hybrid.simulate([0.0, 1.0], cells=2, parameters={"message": [0.0, 2.0]})
    assert course["s"].values[:, 0] == pytest.approx(hybrid.term("n")(np.array([[0.0], [2.0]]))[:, 0])


def test_the_file_of_a_hybrid_runs_by_itself(hybrid):
    again = load_model(hybrid.model.to_sbml()).simulate(TIMES, rtol=1e-9)
    assert again["C"].values == pytest.approx(hybrid.simulate(TIMES, rtol=1e-9)["C"].values, rel=1e-6)


def _image() -> Description:
    layers = {
        "conv": Layer("conv", "Conv2d", {"in_channels": 1, "out_channels": 2, "kernel_size": [3, 3]}),
        "flat": Layer("flat", "Flatten", {}),
        "lin": Layer("lin", "Linear", {"in_features": 8, "out_features": 2}),
    }
    steps = [Step("x", "placeholder", "x", (), {})]
    steps += [
        Step(name, "call_module", name, (before,), {}) for name, before in zip(layers, ("x", "conv", "flat"))
    ]
    return Description("image", ("x",), layers, (*steps, Step("output", "output", "output", ("lin",), {})))


@pytest.mark.parametrize(
    "name", sorted(set(ACTIVATIONS) - {"add", "sub", "mul", "div", "truediv", "pow"} | set(OVER_ALL))
)
def test_every_activation_is_that_of_torch(name):
    positive = name in ("log", "sqrt")
    options = {"gelu": {"approximate": "tanh"}, "elu": {"alpha": 1.5}, "celu": {"alpha": 1.5}}.get(name, {})
    options = {"dim": 0} if name in OVER_ALL else options
    steps = (
        Step("x", "placeholder", "x", (), {}),
        Step("y", "call_function", name, ("x",), options),
        Step("output", "output", "output", ("y",), {}),
    )
    description = Description("net", ("x",), {}, steps)
    xs = np.array([0.3, 1.2, 2.0] if positive else [-40.0, -3.1, -0.4, 0.2, 2.9, 7.0, 40.0])
    model = "model m; " + "; ".join(f"x{i} = {x}" for i, x in enumerate(xs)) + "; species S; S = 1; end"
    ids = np.array([f"x{i}" for i in range(len(xs))], dtype=object)
    part = inlined(description, "net", {}, [ids])
    course = PathwayModel(joined(load_model(model).network, rules=part.rules)).simulate([0.0])
    found = np.array([float(course[str(o)].values[0, 0]) for o in part.outputs[0]])
    assert found == pytest.approx(_value(SciMLNetwork(description), xs), rel=1e-7, abs=1e-8)


def test_layers_written_as_formulas_are_those_of_torch():
    layers = {
        "norm": Layer("norm", "LayerNorm", {"normalized_shape": [3]}),
        "both": Layer("both", "Bilinear", {"in1_features": 3, "in2_features": 3, "out_features": 2}),
        "drop": Layer("drop", "Dropout", {"p": 0.5}),
    }
    steps = (
        Step("x", "placeholder", "x", (), {}),
        Step("n", "call_module", "norm", ("x",), {}),
        Step("d", "call_module", "drop", ("n",), {}),
        Step("b", "call_module", "both", ("d", "x"), {}),
        Step("output", "output", "output", ("b",), {}),
    )
    description = Description("net", ("x",), layers, steps)
    hybrid = Hybrid(CHAIN, [Joint("net", ("A", "B", "C"), (Gives("u"), Gives("v")), description)])
    course = hybrid.simulate([0.0])
    network = SciMLNetwork(description)
    network.set_weights(hybrid.weights["net"])
    assert [float(course[n].values[0, 0]) for n in "uv"] == pytest.approx(
        _value(network, [5.0, 1.0, 0.5]), rel=1e-9
    )


@pytest.mark.parametrize(
    ("joint", "error", "says"),
    [
        (Joint("n", ("A",), Rate({"D": 1})), ModelError, "'D' is no species"),
        (Joint("n", ("AA",), Sets("k")), ModelError, "'AA' in the formula"),
        (Joint("n", ("A",), Sets("A")), ModelError, "'A' is no parameter"),
        (Joint("n", ("A",), (Sets("k"), Starts("s"))), ModelError, "acts before the simulation"),
        (Joint("n", ("A",), Starts("q")), ModelError, "'q' is not in the model"),
        (
            Joint("n", ("A",), (Sets("k"), Sets("s")), dense("n", 1, (), 1)),
            ModelError,
            "1 outputs for 2 targets",
        ),
        (Joint("n", ((1, 4, 4),), (Sets("k"), Sets("s")), _image()), CannotInline, "Conv2d"),
    ],
)
def test_what_cannot_be_joined_is_refused(joint, error, says):
    with pytest.raises(error, match=says):
        Hybrid(CHAIN, [joint])
