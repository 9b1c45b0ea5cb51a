"""Responses and modes of couplings."""

import numpy as np
import pytest
import torch

from sim.core.coupling import Coupling, Hill, Identity, Linear, Table

X = np.array([0.0, 0.5, 1.0, 2.0])
ALL = np.ones(4, dtype=bool)


def test_identity_and_linear():
    assert np.array_equal(Identity()(X), X)
    assert np.array_equal(Linear(2.0, 1.0)(X), [1, 2, 3, 5])


def test_hill_rises_from_low_to_high_and_is_halfway_at_its_half_max():
    hill = Hill(half_max=0.5, power=4, low=1, high=3)
    assert np.allclose(hill(X), 1 + 2 * X**4 / (0.5**4 + X**4), rtol=1e-15)
    assert hill(np.array([0.5]))[0] == 2
    assert hill(np.array([0.0]))[0] == 1


def test_falling_hill_is_the_complement():
    up, down = Hill(0.5, 3), Hill(0.5, 3, falling=True)
    assert np.allclose(up(X) + down(X), 1, rtol=1e-15)


def test_hill_of_negative_and_huge_values_is_at_its_ends():
    with np.errstate(all="raise"):
        assert np.array_equal(Hill(1.0, 8)(np.array([-3.0, 1e200])), [0, 1])
        assert np.array_equal(Hill(1.0, 8, falling=True)(np.array([-3.0, 1e200])), [1, 0])


@pytest.mark.parametrize("response", [Identity(), Linear(2.0, 1.0), Hill(0.5, 3), Hill(0.5, 3, falling=True)])
def test_formulas_answer_to_tensors_too(response):
    x = np.array([-1.0, 0.0, 0.5, 2.0, 1e200])
    tensor = torch.tensor(x, requires_grad=True)
    found = response(tensor)
    np.testing.assert_allclose(found.detach().numpy(), response(x), rtol=1e-15)
    found[2].backward()
    slope = (response(np.array([0.5 + 1e-6])) - response(np.array([0.5 - 1e-6])))[0] / 2e-6
    assert tensor.grad[2] == pytest.approx(slope, rel=1e-6)


def test_table_is_straight_between_points_and_flat_outside():
    table = Table((0.0, 1.0, 2.0), (0.0, 10.0, 0.0))
    assert np.array_equal(table(np.array([-1, 0.25, 1.5, 9])), [0, 2.5, 5, 0])


@pytest.mark.parametrize(
    ("mode", "expected"), [("set", [0, 1, 2, 4]), ("add", [5, 6, 7, 9]), ("scale", [0, 5, 10, 20])]
)
def test_modes_act_on_the_base_value(mode, expected):
    base = np.full(4, 5.0)
    driven = Coupling("a", "b", Linear(2.0), mode).apply(base, X, ALL)
    assert np.array_equal(driven, expected)
    assert (base == 5).all()


def test_the_unit_factor_comes_before_the_response():
    hill = Coupling("a", "b", Hill(0.5), factor=1e-3)
    assert hill.apply(np.zeros(4), np.full(4, 500.0), ALL)[0] == 0.5


def test_cells_out_of_reach_keep_their_base_value():
    where = np.array([True, False, True, False])
    source = np.array([1.0, np.nan, 3.0, np.nan])
    assert np.array_equal(Coupling("a", "b").apply(np.full(4, 9.0), source, where), [1, 9, 3, 9])


@pytest.mark.parametrize(
    "response", [Identity(), Linear(1.0, 2.0), Hill(1.0, falling=True), Table((0, 1), (0, 1))]
)
def test_every_response_says_what_it_is(response):
    assert response.label
