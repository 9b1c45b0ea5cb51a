"""Networks with too many weights for formulas: the same numbers and gradients, by torch."""

import numpy as np
import pytest
import torch

from mechanistic.errors import IntegrationError, ModelError
from sim.fitting.objective import Objective
from sim.fitting.parts import Experiment, Measurement, Observable, Parameter, Period
from sim.fitting.spans import Settings
from sim.hybrid import Gives, Hybrid, Joint, Rate, inline

CHAIN = "model chain; compartment c = 2; species A in c, B in c; A = 5; B = 1; k = 0.3; R: A -> B; c*k*A; end"
JOINTS = [
    Joint("loss", ("A", "B", "time"), Rate({"B": -1}, times=("B",)), positive=True, widths=(4,)),
    Joint("seen", ("B",), Gives("reading"), widths=(2,), activation="silu", output_scales=(2.0,)),
]
TIMES = [0.0, 0.7, 2.0]
EXPERIMENTS = (Experiment("e", (Period(0.0),)), Experiment("f", (Period(0.0),), {"A": 2.0}))
POINTS = tuple(Measurement(s, e, t, 0.5) for s in "AB" for e in "ef" for t in TIMES[1:])


@pytest.fixture
def both(monkeypatch, caplog):
    written = Hybrid(CHAIN, JOINTS)
    monkeypatch.setattr(inline, "MOST_WEIGHTS", 10)
    torchs = Hybrid(CHAIN, JOINTS)
    assert list(torchs.wide) == ["loss"] and "'loss' has 21 weights" in caplog.text
    assert "runs in torch" in caplog.text
    return written, torchs


def test_courses_are_those_of_formulas(both):
    given = {"cells": 2, "initial": {"A": [5.0, 2.0]}, "parameters": {"k": [0.3, 0.6]}, "rtol": 1e-9}
    one, two = (
        both[0].simulate(TIMES, **given),
        both[1].simulate(TIMES, outputs=("A", "B", "reading"), **given),
    )
    for name in ("A", "B", "reading"):
        assert two[name].values == pytest.approx(one[name].values, rel=1e-7)
        assert two[name].units == one[name].units


def test_the_layer_has_the_gradient_of_formulas(both):
    found = []
    for hybrid in both:
        layer = hybrid.layer(TIMES, parameters=("k",), outputs=("B", "reading"), rtol=1e-10)
        layer().square().sum().backward()
        found.append({name: p.grad for name, p in layer.named_parameters()})
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-6, atol=1e-8)


def test_a_fit_has_the_likelihood_and_the_gradient_of_formulas(both):
    found = []
    for hybrid in both:
        study = hybrid.study(EXPERIMENTS, [Observable(s, s, 0.1) for s in "AB"], POINTS)
        parameters = [Parameter("k", 0.3, 0.01, 10.0, "log10"), *hybrid.fit_parameters()]
        found.append(Objective(parameters, [study], Settings(rtol=1e-9)))
    assert found[0].names == found[1].names
    assert found[1]().llh == pytest.approx(found[0]().llh, rel=1e-8)
    forwards, back = found[0](slopes=True, back=False), found[1](slopes=True)
    size = np.abs(forwards.gradient).max()
    assert back.gradient == pytest.approx(forwards.gradient, rel=1e-5, abs=1e-6 * size)


def test_what_torch_does_not_do_is_refused_by_name(both):
    torchs = both[1]
    with pytest.raises(ModelError, match=r"the observable 'o' cannot read what a network gives .*'loss'"):
        torchs.study(EXPERIMENTS, [Observable("o", "loss", 1.0)], ())
    with pytest.raises(ModelError, match=r"rests .* are not found where a network runs in torch"):
        resting = (Experiment("e", (Period(-np.inf), Period(0.0))),)
        study = torchs.study(resting, [Observable("A", "A", 1.0)], [Measurement("A", "e", 1.0, 1.0)])
        Objective(torchs.fit_parameters(), [study])()
    event = Hybrid(CHAIN.replace("end", "E: at A < 2: A = 5; end"), JOINTS[:1])
    with pytest.raises(ModelError, match="the event 'E' is not followed where a network runs in torch"):
        event.simulate(TIMES)
    with pytest.raises(IntegrationError, match="not finite"):
        torchs.model.simulate(TIMES)
