"""Cells that move by others which do not answer in kind: against the equation of motion, and in scenarios."""

from __future__ import annotations

import numpy as np
import pytest
from scenes import scene, started
from scipy.integrate import solve_ivp

from sim.errors import ScenarioError
from sim.scenario import Scenario

_NO_FORCE = "adhesion: 0 um/min, repulsion: 0 um/min"


def _chase(follows: str, more: str = "", tame: str = "") -> Scenario:
    """A hunter 24 um to the right of its prey."""
    return scene(
        more,
        stop="40 min",
        every="40 min",
        step="5 min",
        cells=f"""
  hunter: {{place: {{points: [[24 um, 0 um]]}}, mechanics: {{{_NO_FORCE}, follows: {follows}}}}}
  prey: {{place: {{points: [[0 um, 0 um]]}}, mechanics: {{{_NO_FORCE}{tame}}}}}""",
    )


def _moved(scenario: Scenario, killed: tuple[int, ...] = ()) -> np.ndarray:
    """Places along x at the end, hunter and prey."""
    ready = started(scenario)
    ready.plan.life.kill(ready.state, np.array(killed, dtype=np.int64))
    ready.state.changed()
    for _, length in ready.blocks(0.0, 40.0):
        ready.step(length)
    assert np.abs(ready.state["cell.position"][:, 1]).max() < 1e-9
    return ready.state["cell.position"][:, 0]


def _gap(speed: float, reach: float) -> float:
    """Where a pair that was 24 um apart is after 40 min if it closes by the law of `Following`."""

    def closing(_: float, d: np.ndarray) -> np.ndarray:
        s = np.clip(d / reach, 0, 1)
        return -speed * 16 * (s * (1 - s)) ** 2

    return float(solve_ivp(closing, (0, 40), [24.0], rtol=1e-10, atol=1e-10).y[0, -1])


@pytest.mark.parametrize(("speed", "reach"), [(0.3, 30.0), (-0.2, 40.0), (0.3, 20.0)])
def test_the_one_that_is_followed_stays_where_it_is(speed, reach):
    hunter, prey = _moved(_chase(f"{{prey: {{speed: {speed} um/min, reach: {reach} um}}}}"))
    assert prey == 0.0
    assert hunter == pytest.approx(_gap(speed, reach), abs=1e-3)


def test_a_flight_that_is_not_as_fast_as_the_chase():
    """Both ways are said apart: what one does is no reaction to the other."""
    flees = ", follows: {hunter: {speed: -0.1 um/min, reach: 30 um}}"
    hunter, prey = _moved(_chase("{prey: {speed: 0.3 um/min, reach: 30 um}}", tame=flees))
    assert hunter - prey == pytest.approx(_gap(0.2, 30.0), abs=1e-3)
    assert prey == pytest.approx((hunter - 24) / 3, abs=1e-3)


@pytest.mark.parametrize(
    ("target", "value", "share"), [("mechanics.lure", 0.5, 0.5), ("follow.prey", 0.6, 2.0)]
)
def test_couplings_drive_speed_and_lure(target, value, share):
    who = "prey" if target == "mechanics.lure" else "hunter"
    held = f"linear: {{slope: 0, intercept: {value}}}"
    coupling = f"couplings: [{{from: clock.time, to: {target}, cells: {who}, {held}}}]"
    hunter, _ = _moved(_chase("{prey: {speed: 0.3 um/min, reach: 30 um}}", coupling))
    assert hunter == pytest.approx(_gap(0.3 * share, 30.0), abs=1e-3)


@pytest.mark.parametrize("dead", [0, 1])
def test_the_dead_neither_follow_nor_are_followed(dead):
    hunter, _ = _moved(_chase("{prey: {speed: 0.3 um/min, reach: 30 um}}"), (dead,))
    assert hunter == 24.0


def test_a_type_that_nobody_declared():
    with pytest.raises(ScenarioError, match=r"follows.*no cell type 'pray' is declared; did you mean 'prey'"):
        _chase("{pray: {speed: 0.3 um/min, reach: 30 um}}")
