"""The stiff solver for vector fields in torch: beside closed forms and scipy, and its gradient."""

import numpy as np
import pytest
import torch

from mechanistic.errors import IntegrationError
from neural.sciml import SciMLNetwork, dense
from sim.hybrid.odeint import odeint, register


class Oscillator(torch.nn.Module):
    """Van der Pol's equations, stiff for a large `mu`, with time in them."""

    def __init__(self, mu: float):
        super().__init__()
        self.mu = torch.nn.Parameter(torch.tensor(mu, dtype=torch.float64))

    def forward(self, t, y):
        x, v = y[..., 0], y[..., 1]
        return torch.stack([v, self.mu * ((1 - x**2) * v) - x + 0.1 * torch.sin(t)], -1)


def test_a_stiff_course_is_that_of_scipy():
    from scipy.integrate import solve_ivp

    times = np.linspace(0.0, 3.0, 7)
    starts = np.array([[2.0, 0.0], [1.0, 0.5]])
    with torch.no_grad():
        found = odeint(Oscillator(100.0), torch.tensor(starts), torch.tensor(times), rtol=1e-8, atol=1e-10)
    for k, start in enumerate(starts):
        expected = solve_ivp(
            lambda t, y: [y[1], 100.0 * (1 - y[0] ** 2) * y[1] - y[0] + 0.1 * np.sin(t)],
            (0.0, 3.0), start, "Radau", times, rtol=1e-10, atol=1e-12,
        )  # fmt: skip
        assert found[:, k].numpy() == pytest.approx(expected.y.T, rel=1e-5, abs=1e-7)


def test_the_gradient_is_that_of_an_explicit_method_where_that_can_follow():
    import torchdiffeq

    times = torch.tensor([0.0, 0.2, 0.5], dtype=torch.float64)
    gradients = []
    for solve in (odeint, torchdiffeq.odeint):
        field = Oscillator(3.0)
        start = torch.tensor([[1.5, 0.1], [0.5, 1.0]], dtype=torch.float64, requires_grad=True)
        solve(field, start, times, rtol=1e-7, atol=1e-9).square().sum().backward()
        gradients.append(np.append(start.grad.numpy().ravel(), float(field.mu.grad)))
    assert gradients[0] == pytest.approx(gradients[1], rel=1e-4)


def test_a_wide_network_as_a_method_of_torchdiffeq():
    import torchdiffeq

    register()
    network = SciMLNetwork(dense("wide", 2, (96,), 2))

    def field(t, y):
        return network(y) - 20.0 * y

    start, times = torch.ones(3, 2, dtype=torch.float64), torch.linspace(0, 0.5, 3, dtype=torch.float64)
    ours = torchdiffeq.odeint(field, start, times, method="rodas5p", rtol=1e-6, atol=1e-8)
    theirs = torchdiffeq.odeint(field, start, times, method="dopri5", rtol=1e-9, atol=1e-11)
    assert ours.detach().numpy() == pytest.approx(theirs.detach().numpy(), rel=1e-5, abs=1e-6)
    gradients = []
    for course in (ours, theirs):
        network.zero_grad()
        course[-1].square().sum().backward()
        gradients.append(torch.cat([p.grad.reshape(-1) for p in network.parameters()]).numpy().copy())
    assert gradients[0] == pytest.approx(gradients[1], rel=1e-3, abs=1e-4 * np.abs(gradients[1]).max())


def test_what_explodes_is_told():
    with pytest.raises(IntegrationError, match="too small"), torch.no_grad():
        odeint(
            lambda t, y: y**2,
            torch.tensor([1.0], dtype=torch.float64),
            torch.tensor([0.0, 2.0], dtype=torch.float64),
        )
    with pytest.raises(ValueError, match="rise"):
        odeint(lambda t, y: y, torch.ones(1, dtype=torch.float64), torch.tensor([1.0, 0.0]))
