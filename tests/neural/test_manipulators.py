"""The shipped manipulator: what tissues rely on, and that its parts are the equations they claim."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from neural import Manipulator, weights
from neural.blocks import BLOCK
from neural.decoders import RATES, RateDecoders
from neural.dynamics import DrugDynamics
from neural.errors import WeightsError

WEIGHTS = Path(__file__).parents[2] / "scenarios" / "weights" / "pc9_drugs.safetensors"


@pytest.fixture(scope="module")
def drugs():
    return Manipulator.load(WEIGHTS)


def cells(drugs, n, seed=0):
    rng = np.random.default_rng(seed)
    top = np.array([c["range"][1] for c in drugs.card.raw["conditions"]])
    dose = rng.uniform(0, 1, (n, len(top))) * top * (rng.random((n, len(top))) < 0.4)
    return rng.normal(0, 1, (n, drugs.dimension)), dose, rng.uniform(0, 1, (n, 1))


def test_interface_that_scenarios_use(drugs):
    assert drugs.space == "pc9_drug"
    assert {"erlotinib", "thz1"} <= set(drugs.condition_names)
    assert drugs.card.condition_units["erlotinib"] == "uM"
    assert drugs.message_names == ["confluence"]
    assert drugs.decoder_names == ["division", "apoptosis", "lysis", "clearance"]
    np.testing.assert_array_equal(drugs.initial("untreated"), np.zeros(drugs.dimension))
    with pytest.raises(KeyError, match="it has untreated"):
        drugs.initial("untraeted")


def test_file_is_small():
    assert WEIGHTS.stat().st_size < 100_000


def test_bits_do_not_depend_on_order_threads_or_company(drugs):
    n = 2 * BLOCK + 137
    ur, dose, said = cells(drugs, n)
    whole, rates = drugs.step(ur, dose, said, 30.0), drugs.decode(ur, dose, said)
    order = np.random.default_rng(1).permutation(n)
    np.testing.assert_array_equal(drugs.step(ur[order], dose[order], said[order], 30.0), whole[order])
    shuffled = drugs.decode(ur[order], dose[order], said[order])
    for name, value in rates.items():
        np.testing.assert_array_equal(shuffled[name], value[order])
    for i in (0, 5, BLOCK - 1, n - 1):
        np.testing.assert_array_equal(
            drugs.step(ur[i : i + 1], dose[i : i + 1], said[i : i + 1], 30.0), whole[i : i + 1]
        )
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        np.testing.assert_array_equal(drugs.step(ur, dose, said, 30.0), whole)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("d", [5, 7])
def test_bits_do_not_depend_on_order_in_spaces_of_odd_dimension(d):
    """Rows of an odd number of doubles begin at two kinds of addresses: libraries sum them in two orders."""
    rng = np.random.default_rng(d)
    sizes = {"dynamics": DrugDynamics(1, 3, d, 1, 5), "decoders": RateDecoders(1, [[0.1] * d] * 4)}
    tensors = {
        f"{part}.{name}": rng.normal(size=value.shape) if value.ndim > 1 else np.ones(value.shape)
        for part, module in sizes.items()
        for name, value in module.state_dict().items()
    }
    raw = {
        "conditions": [{"name": c, "unit": "uM", "range": [0.0, 1.0]} for c in "abc"],
        "space": {"name": "odd", "dimension": d},
        "messages": [{"name": "confluence"}],
        "decoders": [{"name": n, "unit": "1/min"} for n in RATES],
    }
    a = {"members": 1, "hidden": 5, "residual": 0.5, "step": 60.0, "pattern": [[0.1] * d] * 4}
    odd = Manipulator(weights.Card("manipulator", "odd", a, {}, "", raw), tensors)
    ur, dose, said = (rng.uniform(0, 1, (41, k)) for k in (d, 3, 1))
    whole, rates = odd.step(ur, dose, said, 30.0), odd.decode(ur, dose, said)
    order = rng.permutation(41)
    np.testing.assert_array_equal(odd.step(ur[order], dose[order], said[order], 30.0), whole[order])
    for name, value in odd.decode(ur[order], dose[order], said[order]).items():
        np.testing.assert_array_equal(value, rates[name][order])


def test_no_cells_is_no_error(drugs):
    ur, dose, said = cells(drugs, 0)
    assert drugs.step(ur, dose, said, 30.0).shape == (0, drugs.dimension)
    assert drugs.decode(ur, dose, said)["division"].shape == (0,)


def test_float32_is_taken(drugs):
    ur, dose, said = (a.astype(np.float32) for a in cells(drugs, 10))
    np.testing.assert_array_equal(
        drugs.step(ur, dose, said, 30.0),
        drugs.step(ur.astype(float), dose.astype(float), said.astype(float), 30.0),
    )


def test_wrong_shape_is_named(drugs):
    ur, dose, said = cells(drugs, 10)
    with pytest.raises(ValueError, match=r"conditions must have shape \(10, 6\), got \(10, 5\)"):
        drugs.step(ur, dose[:, :5], said, 30.0)


def test_untreated_cells_stay_untreated(drugs):
    ur = np.zeros((3, drugs.dimension))
    said = np.array([[0.0], [0.5], [1.0]])
    after = drugs.step(ur, np.zeros((3, len(drugs.condition_names))), said, 600.0)
    np.testing.assert_allclose(after, 0.0, atol=1e-12)


def test_step_is_the_differential_equation(drugs):
    """Two half steps are one step, and rk4 meets dopri5 at 1e-7, to the tolerance that is stated: 1e-3."""
    ur, dose, said = cells(drugs, 50)
    one = drugs.step(ur, dose, said, 60.0)
    two = drugs.step(drugs.step(ur, dose, said, 30.0), dose, said, 30.0)
    np.testing.assert_allclose(one, two, atol=1e-3)
    kw = {"times": [0.0, 2880.0], "conditions": {"erlotinib": 0.1}, "live_area": 10.0}
    rough = drugs.evolve(drugs.initial("untreated"), **kw)
    exact = drugs.evolve(drugs.initial("untreated"), method="dopri5", **kw)
    np.testing.assert_allclose(rough["mean"], exact["mean"], rtol=1e-3, atol=1e-3)


def test_rates_are_those_of_a_numpy_twin(drugs):
    """Decoders against their formula written out in numpy."""
    _, t = weights.load(WEIGHTS)
    ur, dose, said = cells(drugs, 20)
    q = ur @ (t["decoders.pattern"] + t["decoders.readout"][0]).T
    half, power = np.exp(t["decoders.log_contact"][0])
    base, crowding = t["decoders.base"][0], t["decoders.crowding"][0]
    m = said[:, 0]
    division = np.exp(base[0]) * 2 / (1 + np.exp(q[:, 0])) / (1 + (m / half) ** power)
    hazards = np.log1p(np.exp(base[1:] + q[:, 1:] + np.outer(m, crowding))) * [1e-4, 1e-3, 1e-3]
    got, here = drugs.decode(ur, dose, said), t["decoders.factor"][0]
    np.testing.assert_allclose(got["division"], here[0] * division, rtol=1e-10)
    for i, name in enumerate(("apoptosis", "lysis", "clearance")):
        np.testing.assert_allclose(got[name], here[1 + i] * hazards[:, i], rtol=1e-10)


def test_drugs_join_in_the_drive(drugs):
    """The drive of two drugs is the power mean of the drives of each: the network learns only what is left."""
    dynamics, _ = drugs._reference
    both = torch.zeros(1, 6, dtype=torch.float64)
    both[0, 0], both[0, 1] = 0.1, 0.2
    alone = torch.stack([dynamics.drive(both * (torch.arange(6) == k)) for k in (0, 1)], 2)
    rising, falling = (torch.sqrt((sign * alone).clamp_min(0).square().sum(2)) for sign in (1, -1))
    torch.testing.assert_close(dynamics.drive(both), rising - falling, rtol=0, atol=1e-5)
    assert dynamics.drive(torch.zeros(1, 6, dtype=torch.float64)).abs().max() < 1e-15


def test_linear_part_can_be_read(drugs):
    part = drugs.linear_part()
    assert part["effect"].shape == part["half_max"].shape == (6, drugs.dimension)
    assert (part["tau"] > 0).all() and np.triu(part["coupling"]).max() == 0.0


def test_known_pharmacology(drugs):
    """Erlotinib at 0.33 uM slows PC9 division; THZ1 at 0.3 uM kills; confluence slows division."""
    ur = np.zeros((3, drugs.dimension))
    dose = np.zeros((3, 6))
    dose[1, drugs.condition_names.index("erlotinib")] = 0.33
    dose[2, drugs.condition_names.index("thz1")] = 0.3
    said = np.full((3, 1), 0.2)
    after = drugs.decode(drugs.step(ur, dose, said, 48 * 60.0), dose, said)
    assert 4e-4 < after["division"][0] < 1.2e-3
    assert after["division"][1] < 0.6 * after["division"][0]
    assert after["apoptosis"][2] > 3.0 * after["apoptosis"][0]
    crowded = drugs.decode(ur, dose, np.full((3, 1), 0.95))
    assert crowded["division"][0] < 0.7 * drugs.decode(ur, dose, said)["division"][0]


def test_zeroed_network_leaves_everything(drugs, tmp_path):
    ur, dose, said = cells(drugs, 30)
    drugs.zeroed().save(tmp_path / "zero.safetensors")
    for still in (drugs.zeroed(), Manipulator.load(tmp_path / "zero.safetensors")):
        np.testing.assert_array_equal(still.step(ur, dose, said, 30.0), ur)
        assert all((v == 0.0).all() for v in still.decode(ur, dose, said).values())
    assert (drugs.decode(ur, dose, said)["division"] > 0).all()


def test_evolve_has_ordered_intervals_and_flags_new_doses(drugs):
    course = drugs.evolve(
        drugs.initial("untreated"), np.arange(0, 72.1, 6) * 60, {"erlotinib": [0.0, 0.1, 5.0]}, live_area=10.0
    )
    assert dict(course.sizes) == {"cell": 3, "time": 13, "quantity": drugs.dimension + 7}
    assert (course["lower"] <= course["mean"]).all() and (course["mean"] <= course["upper"]).all()
    assert course["extrapolated"].values.tolist() == [False, False, True]
    live = course["mean"].sel(quantity="channel.live_area").values
    np.testing.assert_allclose(live[:, 0], 10.0, rtol=1e-6)
    assert live[0, -1] > 2.0 * live[1, -1]
    with pytest.raises(KeyError, match="no condition 'erlotinb'"):
        drugs.evolve(drugs.initial("untreated"), [0.0, 60.0], {"erlotinb": 1.0})


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"ur": np.full(6, np.nan)}, "ur must be finite"),
        ({"ur": np.zeros((2, 7))}, "ur must have 6 columns"),
        ({"conditions": {"erlotinib": -1.0}}, "conditions must be finite and not below 0"),
        ({"conditions": {"erlotinib": [0.1, np.nan]}}, "conditions must be finite"),
        ({"conditions": np.zeros((1, 5))}, "conditions must have 6 columns"),
        ({"times": []}, "at least one time"),
        ({"message": np.inf}, "message must be finite"),
        ({"live_area": -1.0}, "live_area must be finite and not below 0"),
        ({"breaks": [30.0], "conditions": [{}]}, r"1 breaks need 2 conditions, each held in turn \(got 1\)"),
        ({"breaks": [0.0], "conditions": [{}, {}]}, "breaks must ascend from the first time on"),
    ],
)
def test_what_cannot_evolve_is_refused(drugs, changed, says):
    asked = {"ur": np.zeros(6), "times": [0.0, 60.0], "conditions": {}}
    with pytest.raises(ValueError, match=says):
        drugs.evolve(**asked | changed)


def test_held_confluence_agrees_with_stepping(drugs):
    """`evolve` of the ensemble's first member is what a tissue steps."""
    ur, dose, said = cells(drugs, 4)
    steps = ur
    for _ in range(10):
        steps = drugs.step(steps, dose, said, 60.0)
    whole = drugs.step(ur, dose, said, 600.0)
    np.testing.assert_allclose(steps, whole, atol=2e-3)


def test_evolve_goes_on_from_where_doses_change(drugs):
    """Between its breaks a course is one of held doses, which begins where the other ended."""
    ur = drugs.initial("untreated")
    doses = [{"thz1": 0.1}, {"erlotinib": 0.1}]
    both = drugs.evolve(ur, [0.0, 600.0, 1200.0], doses, breaks=[600.0])["mean"].values[0]
    first = drugs.evolve(ur, [0.0, 600.0], doses[0])["mean"].values[0]
    np.testing.assert_array_equal(both[:2], first)
    exact = drugs.evolve(ur, [0.0, 600.0, 1200.0], doses, breaks=[600.0], method="dopri5")["mean"].values[0]
    np.testing.assert_allclose(both, exact, atol=1e-3)
    assert np.abs(both[2] - drugs.evolve(ur, [0.0, 1200.0], doses[0])["mean"].values[0, -1]).max() > 0.05


def test_confluence_may_differ_by_cell(drugs):
    course = drugs.evolve(np.zeros(drugs.dimension), [0.0, 60.0], {"thz1": 0.1}, message=np.array([0.1, 0.9]))
    division = course["mean"].sel(quantity="decoder.division").values
    assert division.shape == (2, 2) and (division[0] > division[1]).all()
    alone = drugs.evolve(np.zeros(drugs.dimension), [0.0, 60.0], {"thz1": 0.1}, message=0.9)
    np.testing.assert_allclose(alone["mean"].sel(quantity="decoder.division").values[0], division[1])


def test_architecture_must_fit(tmp_path):
    card, tensors = weights.load(WEIGHTS)
    raw = {k: v for k, v in card.raw.items() if k not in ("tensors", "sha256", "format")}
    raw["architecture"] = {**raw["architecture"], "hidden": 5}
    weights.save(tmp_path / "w.safetensors", tensors, raw)
    with pytest.raises(WeightsError, match="do not fit the card's architecture"):
        Manipulator.load(tmp_path / "w.safetensors")


def test_weights_are_found_wherever_they_lie(tmp_path, drugs):
    shutil.copy(WEIGHTS, tmp_path / "my own.safetensors")
    assert Manipulator.load(tmp_path / "my own.safetensors").card.sha256 == drugs.card.sha256


def test_the_field_and_the_rates_with_gradients_are_those_that_are_stepped(drugs):
    m = drugs
    ur = np.random.default_rng(3).normal(size=(5, m.dimension))
    dose = np.full((5, len(m.condition_names)), 0.02)
    said = np.full((5, len(m.message_names)), 0.3)
    tensors = [torch.tensor(a, requires_grad=True) for a in (ur, dose, said)]
    field = m.vector_field(*tensors)
    short = 1e-3
    assert np.allclose(
        (m.step(ur, dose, said, short) - ur) / short, field.detach().numpy(), rtol=1e-3, atol=1e-7
    )
    rates = m.rates(tensors[0], tensors[2])
    decoded = m.decode(ur, dose, said)
    assert np.allclose(rates.detach().numpy(), np.stack([decoded[n] for n in m.decoder_names], 1), rtol=1e-12)
    field.sum().backward()
    assert all(t.grad is not None and torch.isfinite(t.grad).all() for t in tensors)


def test_each_fold_of_the_ensemble_has_its_own_field_and_rates(drugs):
    rng = np.random.default_rng(4)
    ur = torch.tensor(rng.normal(size=(6, drugs.dimension)))
    dose = torch.full((6, len(drugs.condition_names)), 0.02, dtype=torch.float64)
    said = torch.full((6, len(drugs.message_names)), 0.3, dtype=torch.float64)
    assert drugs.folds == drugs.card.architecture["members"] - 1 == 5
    with torch.no_grad():
        fields = [drugs.vector_field(ur, dose, said, without=k) for k in range(drugs.folds)]
        rates = [drugs.rates(ur, said, without=k) for k in range(drugs.folds)]
        reference = drugs.vector_field(ur, dose, said)
    # taught from most of the same wells, they agree in the main, and none is another's copy
    spread = torch.stack(fields).std(0).mean() / reference.abs().mean()
    assert 1e-3 < spread < 1
    distinct = [f.sum().item() for f in (*fields, reference)], [r.sum().item() for r in rates]
    assert all(len(set(values)) == len(values) for values in distinct)
    assert torch.equal(drugs.vector_field(ur, dose, said, without=2), fields[2])
    still = drugs.zeroed()
    assert not still.vector_field(ur, dose, said, without=2).any()
