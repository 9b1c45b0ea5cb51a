"""Steps of a fixed length are torchdiffeq's to the bit, and so are the gradients through them."""

import pytest
import torch
from torchdiffeq import odeint

from neural.population import integrate


def _field(weights):
    def rhs(t, y):
        return 0.05 * torch.tanh(y @ weights) - 0.01 * y + 0.001 * torch.sin(0.1 * t)

    return rhs


@pytest.mark.parametrize("times", [[0.0, 30.0], [0.0, 7.0, 7.5, 19.0, 100.0], [5.0, 11.0, 30.0], [0.0, 1e-3]])
@pytest.mark.parametrize("step", [10.0, 7.3, 30.0])
def test_fixed_steps_are_torchdiffeqs(times, step):
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(5, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    start = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    at = torch.tensor(times, dtype=torch.float64)
    ours = integrate(_field(weights), start, at, step)
    theirs = odeint(_field(weights), start, at, method="rk4", options={"step_size": step})
    assert isinstance(theirs, torch.Tensor)
    assert torch.equal(ours, theirs)
    gradients = [torch.autograd.grad(states.square().sum(), weights)[0] for states in (ours, theirs)]
    assert torch.equal(*gradients) and gradients[0].abs().sum() > 0


@pytest.mark.parametrize("times", [[0.0, 3.0, 3.0], [2.0, 1.0]])
def test_times_that_do_not_ascend_are_refused(times):
    with pytest.raises(ValueError, match="ascend"):
        integrate(lambda _t, y: y, torch.ones(1), torch.tensor(times), 1.0)
