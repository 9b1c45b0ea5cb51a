"""The batched solver against torchdiffeq, closed forms and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neural.odes import block_course, dosing, solve, tableau
from neural.vector_fields import MLPField

CELLS, DIMENSION = 37, 6
TIMES = torch.linspace(0.0, 5.0, 23, dtype=torch.double)
TIGHT = {"rtol": 1e-9, "atol": 1e-10, "block": 16, "start": 0.0}


def field(controls: int = 0, timed: bool = False, hidden: tuple[int, ...] = (16, 16)) -> MLPField:
    torch.manual_seed(0)
    return MLPField(DIMENSION, controls, hidden, timed).double()


def states() -> torch.Tensor:
    return torch.randn(CELLS, DIMENSION, dtype=torch.double, generator=torch.Generator().manual_seed(3))


def doses() -> torch.Tensor:
    return torch.rand(CELLS, 2, dtype=torch.double, generator=torch.Generator().manual_seed(4))


def own_times() -> torch.Tensor:
    late = torch.rand(CELLS, 1, dtype=torch.double, generator=torch.Generator().manual_seed(5))
    return TIMES[None] * (1 - 0.2 * late)


def events(u: torch.Tensor):
    who = torch.arange(CELLS)
    return dosing(u, [(1.3, who % 3 == 0, 0, 2.0), (2.9, who < 9, 1, 0.0), (2.9, who > 30, 0, 1.0)])


def test_tableau_holds_its_order_conditions():
    a, b, c = tableau.A, tableau.WEIGHTS, tableau.NODES
    for k in range(5):
        assert b @ c**k == pytest.approx(1 / (k + 1), abs=1e-13)
    assert b @ a @ a @ a @ c == pytest.approx(1 / 120, abs=1e-13)
    lower = b - tableau.ERROR
    assert [lower @ c**k for k in range(4)] == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4], abs=1e-13)
    assert abs(tableau.ERROR @ c**4) > 1e-4
    for theta in (0.0, 0.3, 1.0):
        w = tableau.dense_weights(np.array(theta))
        assert [w @ c**k for k in range(4)] == pytest.approx(
            [theta ** (k + 1) / (k + 1) for k in range(4)], abs=1e-13
        )
        assert w @ a @ c == pytest.approx(theta**3 / 6, abs=1e-13)


@pytest.mark.parametrize("case", ["plain", "timed", "one layer", "held", "events", "own times"])
def test_states_and_gradients_are_those_of_torchdiffeq(case):
    found = {}
    for method in ("tsit5", "dopri5"):
        f = field(
            2 if case in ("held", "events", "own times") else 0,
            case in ("timed", "own times"),
            (16,) if case == "one layer" else (16, 16),
        )
        y0, u = states().requires_grad_(True), doses().requires_grad_(True)
        controls, breaks = (u, []) if case == "held" else events(u)
        if f.controls == 0:
            controls, breaks = None, []
        times = own_times() if case == "own times" else TIMES
        out = solve(f, y0, times, controls, breaks, method=method, **TIGHT)
        out.backward(torch.sin(torch.arange(out.numel(), dtype=out.dtype)).view_as(out))
        leaves = [y0, *f.parameters()] + ([u] if f.controls else [])
        found[method] = [out.detach(), *(leaf.grad for leaf in leaves)]
    for ours, theirs in zip(found["tsit5"], found["dopri5"], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6 * float(theirs.abs().max()))


def test_gradient_is_that_of_the_numbers_returned():
    """gradcheck with steps held: tolerances so loose that the steps do not depend on the inputs."""
    f = field(2, hidden=(5,))
    u = doses()[:3]

    def course(y0, u):
        return solve(f, y0, TIMES[:4] / 10, u, rtol=1e9, atol=1e9)

    y0 = states()[:3].requires_grad_(True)
    assert torch.autograd.gradcheck(course, (y0, u.clone().requires_grad_(True)), atol=1e-7)


def test_few_kept_states_give_the_same_gradient(monkeypatch):
    def gradient():
        f, y0 = field(2), states().requires_grad_(True)
        controls, breaks = events(doses())
        out = solve(f, y0, TIMES, controls, breaks, **TIGHT)
        out.sum().backward()
        kept = max(len(c._kept) for c in out.grad_fn.courses)
        return kept, len(out.grad_fn.courses[0].steps), [y0.grad, *(p.grad for p in f.parameters())]

    monkeypatch.setattr(block_course, "CHECKPOINTS", 10**6)
    _, steps, whole = gradient()
    monkeypatch.setattr(block_course, "CHECKPOINTS", 4)
    kept, same, few = gradient()
    assert steps == same > 20
    assert kept <= 4
    for a, b in zip(whole, few, strict=True):
        assert torch.equal(a, b)


def test_memory_for_the_way_back_grows_neither_with_outputs_nor_without_bound_in_time():
    def kept(outputs, end):
        out = solve(field(), states().requires_grad_(True), torch.linspace(0, end, outputs), block=64)
        return out.grad_fn.courses[0].kept_bytes

    assert kept(10, 1.0) == kept(1000, 1.0)
    bound = block_course.CHECKPOINTS * 2 * CELLS * DIMENSION * 8
    assert kept(10, 1.0) < kept(10, 300.0) <= bound


def test_nothing_is_kept_where_no_gradient_is_wanted(monkeypatch):
    kept = []
    forward = block_course.BlockCourse.forward

    def watched(self, *arguments, **named):
        forward(self, *arguments, **named)
        kept.append(self.kept_bytes)

    monkeypatch.setattr(block_course.BlockCourse, "forward", watched)
    f = field()
    with torch.no_grad():
        quiet = solve(f, states(), TIMES)
    assert kept == [0]
    loud = solve(f, states(), TIMES)
    assert kept[1] > 0
    assert torch.equal(quiet, loud)


def test_error_falls_with_the_tolerance():
    f, y0 = field(), states()
    with torch.no_grad():
        exact = solve(f, y0, TIMES, method="dopri5", rtol=1e-11, atol=1e-12)
        off = [float((solve(f, y0, TIMES, rtol=r, atol=r) - exact).abs().max()) for r in (1e-3, 1e-5, 1e-7)]
    assert off[0] < 1e-2
    assert off[1] < 0.1 * off[0]
    assert off[2] < 0.1 * off[1]


def test_blocks_without_an_event_of_their_own_run_on():
    u = doses()
    controls, breaks = dosing(u, [(1.3, slice(0, 16), 0, 2.0)])
    out = solve(field(2), states().requires_grad_(True), TIMES, controls, breaks, block=16)
    assert [len(c.segments) for c in out.grad_fn.courses] == [2, 1, 1]
    same = solve(field(2), states(), TIMES, u, block=16)
    assert torch.equal(out[:, 16:], same[:, 16:])
    assert not torch.allclose(out[-1, :16], same[-1, :16])


def test_any_callable_goes_to_torchdiffeq():
    out = solve(lambda t, y: -y, states(), TIMES, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(out, states() * torch.exp(-TIMES)[:, None, None], rtol=1e-6, atol=1e-7)


def test_outputs_at_the_start_are_the_start():
    times = torch.tensor([0.0, 0.0, 1.0])
    y0 = states().requires_grad_(True)
    out = solve(field(), y0, times)
    assert torch.equal(out[0], y0.detach())
    out[:2].sum().backward()
    torch.testing.assert_close(y0.grad, torch.full_like(y0, 2.0))
    assert torch.equal(solve(field(), states(), [0.0])[0], states())


def test_single_precision_and_more_than_one_block():
    f = field().float()
    out = solve(f, states().float(), TIMES, block=8)
    assert out.dtype == torch.float32
    exact = solve(field(), states(), TIMES, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(out.double(), exact, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"times": [1.0, 0.5]}, "ascend"),
        ({"times": [0.0, float("nan")]}, "finite"),
        ({"times": np.zeros((3, 2))}, "times must be"),
        ({"breaks": [1.0]}, "breaks need controls"),
        ({"controls": None}, "the field takes"),
        ({"controls": None, "breaks": [1.0]}, "breaks without controls"),
        ({"method": "euler"}, "unknown method"),
        ({"start": 1.0}, "before the start"),
    ],
)
def test_what_does_not_fit_is_said(given, said):
    arguments = {"times": [0.0, 1.0], "controls": doses()} | given
    with pytest.raises(ValueError, match=said):
        solve(field(2), states(), **arguments)


def test_a_course_that_ends_in_no_number_is_refused_with_its_time():
    f = field()
    with torch.no_grad():
        f.layers[-1].bias[0] = float("nan")
    with pytest.raises(ArithmeticError, match="time 0"):
        solve(f, states(), TIMES)


@pytest.mark.parametrize("hidden", [(16,), (16, 16)])
def test_conserved_sums_stay_and_gradients_know_it(hidden):
    """Two sums of the six components; both solvers see the same network."""
    sums = np.array([[1.0, 1.0, 0, 0, 0, 0], [0, 0, 1.0, 2.0, 0, 0.5]])
    torch.manual_seed(0)
    made = MLPField(DIMENSION, 0, hidden, False, sums).double()
    found = {}
    for method in ("tsit5", "dopri5"):
        y = states().requires_grad_()
        out = solve(made, y, TIMES, method=method, **TIGHT)
        np.testing.assert_allclose((out @ torch.tensor(sums).T).std(0).detach(), 0, atol=1e-9)
        assert (out[-1] - out[0]).abs().max() > 0.1
        found[method] = torch.autograd.grad(out.square().sum(), [y, *made.parameters()])
    for ours, theirs in zip(found["tsit5"], found["dopri5"], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_conserved_sums_fit_the_field():
    with pytest.raises(ValueError, match="2 components, the field has 6"):
        MLPField(DIMENSION, conserved=[[1.0, 1.0]])


@pytest.mark.parametrize("steep", [1.0, 50.0])
def test_a_course_that_leaves_all_bounds_is_told_by_the_reference_too(steep):
    with pytest.raises(ArithmeticError, match="step size vanished between 0 and 2"):
        solve(lambda t, y: torch.exp(steep * y), torch.ones(1, 1, dtype=torch.float64), [0.0, 2.0])
