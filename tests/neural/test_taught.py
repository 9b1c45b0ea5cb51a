"""Combination wells that a rule foretells, handed to a fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neural.dynamics import DrugDynamics, joined
from neural.population import Monolayer
from neural.taught import teach
from neural.wells import Wells

HOURS = np.arange(0.0, 73.0, 12.0)
DRUGS = np.array([[0, 0], [0, 0], [1, 0], [3, 0], [0, 2], [0, 6], [1, 2], [3, 6]], float)


def wells() -> Wells:
    """One plate, two drugs that lower the log of live area and raise those of the stains."""
    rng = np.random.default_rng(0)
    push = 0.2 * DRUGS[:, :1] + 0.1 * DRUGS[:, 1:]
    growth = (0.05 - 0.01 * push) * HOURS
    logs = np.stack([3 + growth, 0.02 * push * HOURS, 0.03 * push * HOURS - 3], 2)
    curves = 2.0 ** (logs[:, None] + 0.02 * rng.standard_normal((len(DRUGS), 1, len(HOURS), 3)))
    index = np.zeros(len(DRUGS), int)
    return Wells(
        HOURS * 60,
        DRUGS,
        ["a", "b"],
        curves,
        index,
        [("e", "p")],
        index,
        index,
        ["e"],
        np.arange(len(DRUGS)),
        "",
    )


def test_every_dose_given_alone_is_paired_and_no_combination_is_read():
    w = wells()
    rows = np.flatnonzero(w.drugs_given < 2)
    told = teach(w, rows, np.ones((1, len(rows)), bool))
    assert told.dose.tolist() == [[1, 2], [1, 6], [3, 2], [3, 6]]
    w.curves[w.drugs_given == 2] = 50.0
    again = teach(w, rows, np.ones((1, len(rows)), bool))
    np.testing.assert_array_equal(told.logs, again.logs)
    # both drugs hold growth back more than either
    alone = np.log2(w.curves[3, 0, -1, 0] + 0.5)
    assert told.logs[0, 3, -1, 0] < alone
    np.testing.assert_allclose(told.logs[0, :, 0], told.first)


def test_a_member_is_taught_by_the_wells_it_sees():
    w = wells()
    rows = np.flatnonzero(w.drugs_given < 2)
    seen = np.ones((2, len(rows)), bool)
    seen[1, 3] = False
    before = teach(w, rows, seen).logs
    w.curves[rows[3], :, 1:] *= 2.0  # the first frame is an input, as seeding differs, and known to all
    after = teach(w, rows, seen).logs
    assert not np.allclose(before[0], after[0])
    np.testing.assert_array_equal(before[1], after[1])


def test_drives_join_between_their_sum_and_the_strongest():
    drives = torch.tensor([[[[1.0, -1.0, 1.0], [1.0, -0.5, -1.0]]]], dtype=torch.double)
    assert joined(drives, 1.0).flatten().tolist() == [2.0, -1.5, 0.0]
    assert joined(drives, 2.0).flatten().tolist() == pytest.approx([2**0.5, -(1.25**0.5), 0.0], abs=1e-5)
    assert joined(drives, 200.0).flatten().tolist() == pytest.approx([1.0, -1.0, 0.0], abs=1e-2)
    drives.requires_grad_(True)
    joined(0 * drives, 2.0).sum().backward()
    assert torch.isfinite(drives.grad).all()


def test_one_drug_alone_drives_the_same_whatever_the_power():
    made = [DrugDynamics(2, 3, 4, 1, power=p).double() for p in (1.0, 2.0)]
    for d in made:
        d.start([400.0] * 4, [1.0] * 3, torch.Generator().manual_seed(0), 1.0)
    dose = torch.tensor([[0.0, 2.0, 0.0]], dtype=torch.double)
    torch.testing.assert_close(made[0].drive(dose), made[1].drive(dose), rtol=0, atol=1e-5)
    both = torch.tensor([[1.0, 2.0, 0.0]], dtype=torch.double)
    assert (made[1].drive(both) < made[0].drive(both)).all()


def test_a_monolayer_covers_less_than_its_discs_and_hears_more_than_its_mean():
    lie = Monolayer(clustering=0.28, overlap=0.12)
    area = torch.tensor([0.5, 10.0, 40.0, 80.0], dtype=torch.double)
    live = lie.covered(area)
    assert (live < area).all()
    torch.testing.assert_close(lie.area(live), area)
    assert (lie.heard(live[:3]) > live[:3] / 100).all()
    assert lie.heard(live[3:]) == live[3:] / 100
    plain = Monolayer()
    torch.testing.assert_close(plain.heard(area), area / 100)
    torch.testing.assert_close(plain.covered(area), area)
