"""Laws between neighbours: found from tracks whose law is known, read, kept in weights."""

import numpy as np
import pytest
import torch
import yaml

from neural.errors import TrainingError
from neural.tissue.factored import Hearing, rk4
from neural.tissue.fit_law import Tracks, fit_law
from neural.tissue.forces import Pairs, fit_forces
from neural.tissue.graph import Rows
from neural.tissue.reading import carried, effect, ranking, reach
from neural.tissue.tracks import tracks_of
from neural.tissue.train_law import load_law
from neural.training import train

FRAMES, EVERY = 24, 4.0


def lattice(side=9, spacing=10.0):
    x, y = np.meshgrid(np.arange(side), np.arange(side))
    return spacing * np.stack([x + 0.5 * (y % 2), np.sqrt(0.75) * y], -1).reshape(-1, 2)


def pairs_of(where, radius):
    d = np.sqrt(((where[:, None] - where[None]) ** 2).sum(-1))
    receiver, sender = np.nonzero((d < radius) & ~np.eye(len(where), dtype=bool))
    rows, order = Rows.of_edges(np.stack([sender, receiver]), len(where))
    return rows, d[receiver, sender][order]


def course(seed, where, weight):
    """A is made on hearing weight @ B (a Hill curve); B follows A; C and D swing by themselves and are not heard."""

    def rate(s):
        a, b, c, d = s.T
        heard = weight @ b
        raised = heard**2 / (0.04 + heard**2)
        return np.stack([0.1 * (raised - a), 0.05 * (a - b), 0.06 * (d - 1), 0.06 * (1 - c)], 1)

    rng = np.random.default_rng(seed)
    s, seen, h = rng.random((len(where), 4)), [], EVERY / 40
    for k in range(FRAMES * 40 + 1):
        if k % 40 == 0:
            seen.append(s)
        k1 = rate(s)
        k2 = rate(s + h / 2 * k1)
        k3 = rate(s + h / 2 * k2)
        s = s + h / 6 * (k1 + 2 * k2 + 2 * k3 + rate(s + h * k3))
    return EVERY * np.arange(FRAMES + 1), np.array(seen)


def mean_weight(rows):
    w = np.zeros((len(rows), len(rows)))
    w[rows.receivers, rows.indices] = 1
    return w / w.sum(1, keepdims=True)


@pytest.fixture(scope="module")
def contact():
    where = lattice()
    rows, d = pairs_of(where, 12.0)
    hearing = Hearing.of(rows, torch.as_tensor(d), mean=True)
    times, states = course(1, where, mean_weight(rows))
    return where, rows, hearing, fit_law([Tracks(times, states, hearing)], "ABCD"), states


def test_the_signal_that_is_heard_ranks_first(contact):
    (first, strong), (_, second), *_ = ranking(contact[3])
    assert first == "B" and strong > 50 * second


def test_the_curve_is_the_true_one_within_its_interval(contact):
    found = effect(contact[3], "B", "A")
    inside = (found.heard > 0.15) & (found.heard < 0.8)
    truth = 0.1 * found.heard**2 / (0.04 + found.heard**2)
    gap = (found.rate - truth)[inside]
    assert 1 - (gap - gap.mean()).var() / truth[inside].var() > 0.999
    assert (found.lower <= found.rate).all() and (found.rate <= found.upper).all()
    assert np.ptp(effect(contact[3], "C", "A").rate) < 0.01 * np.ptp(found.rate)


def test_the_formula_is_that_of_a_hill_curve(contact):
    found = effect(contact[3], "B", "A")
    assert "^" in found.formula and found.r2 > 0.995


def test_the_law_runs_on_where_it_never_was(contact):
    where, rows, hearing, fitted, _ = contact
    _, states = course(9, where, mean_weight(rows))
    s = torch.as_tensor(states[0])
    with torch.no_grad():
        for _ in range(FRAMES):
            s = rk4(lambda q: fitted.law(q, hearing), s, EVERY, 4)
    assert np.abs(s.numpy()[:, :2] - states[-1][:, :2]).max() < 0.02


def test_order_of_cells_does_not_matter(contact):
    where, _, hearing, fitted, states = contact
    order = np.random.default_rng(0).permutation(len(where))
    other, d = pairs_of(where[order], 12.0)
    moved = Hearing.of(other, torch.as_tensor(d), mean=True)
    with torch.no_grad():
        a = fitted.law(torch.as_tensor(states[3]), hearing)[torch.as_tensor(order)]
        b = fitted.law(torch.as_tensor(states[3][order]), moved)
    torch.testing.assert_close(a, b, atol=1e-9, rtol=0)


def test_how_far_a_signal_carries_is_found():
    where = lattice(10)
    rows, d = pairs_of(where, 40.0)
    weight = np.zeros((len(where), len(where)))
    weight[rows.receivers, rows.indices] = 0.25 * np.exp(-d / 9.0)
    tracks = []
    for seed in (1, 2):
        times, states = course(seed, where, weight)
        tracks.append(Tracks(times, states[..., :2], Hearing.of(rows, torch.as_tensor(d))))
    fitted = fit_law(tracks, "AB", radius=40.0)
    assert reach(fitted, "B", 10.0) == pytest.approx(9.0, rel=0.15)
    distance, arrives = carried(fitted, "B")
    truth = np.exp(-distance / 9.0)
    seen = (distance > 10) & (distance < 35)
    scale = (arrives[seen] @ truth[seen]) / (arrives[seen] @ arrives[seen])
    assert np.abs(scale * arrives - truth)[seen].max() < 0.05 * truth[seen].max()


def test_a_law_without_distance_has_no_range(contact):
    with pytest.raises(ValueError, match="without a radius"):
        carried(contact[3], "B")
    with pytest.raises(KeyError, match="no signal 'Z'; the law knows A, B, C, D"):
        effect(contact[3], "Z", "A")


def table(path, where, times, states):
    lines = ["cell,time,x,y,A,B,C,D"]
    for t, frame in zip(times, states):
        lines += [
            f"c{i},{t},{x},{y},{','.join(map(str, s))}" for i, ((x, y), s) in enumerate(zip(where, frame))
        ]
    path.write_text("\n".join(lines))


def test_train_writes_a_law_that_says_what_it_found(tmp_path, contact):
    where, rows, _, _, _ = contact
    table(tmp_path / "tracks.csv", where, *course(1, where, mean_weight(rows)))
    spec = {"training": 1, "kind": "law", "name": "found", "data": {"path": "tracks.csv"}, "radius": 12.0}
    spec["signals"] = ["A", "B", "C", "D"]
    (tmp_path / "law.yaml").write_text(yaml.safe_dump(spec))
    path = train(tmp_path / "law.yaml", tmp_path / "found.safetensors")
    fitted = load_law(path)
    assert ranking(fitted)[0][0] == "B"
    assert "signals by strength: B" in path.with_suffix(".md").read_text()
    tracks, _, _ = tracks_of(spec, tmp_path / "tracks.csv")
    again = fit_law(tracks, ["A", "B", "C", "D"])
    torch.testing.assert_close(again.law.does, fitted.law.does, check_dtype=True)


def test_tracks_that_move_are_refused(tmp_path, contact):
    where, rows, _, _, _ = contact
    times, states = course(1, where, mean_weight(rows))
    table(tmp_path / "tracks.csv", where, times, states)
    text = (tmp_path / "tracks.csv").read_text().replace("c0,4.0,0.0", "c0,4.0,9.0")
    (tmp_path / "tracks.csv").write_text(text)
    spec = {
        "training": 1,
        "kind": "law",
        "name": "x",
        "data": {"path": "tracks.csv"},
        "signals": ["A"],
        "radius": 12,
    }
    (tmp_path / "law.yaml").write_text(yaml.safe_dump(spec))
    with pytest.raises(TrainingError, match="move by more than a tenth"):
        train(tmp_path / "law.yaml", tmp_path / "x.safetensors")


def moving(seed, cells=50, frames=12, turn=None):
    """Frames of two kinds: 1 is drawn to 0, which 1 pushes off; how strongly goes by the neighbour's signal."""
    rng = np.random.default_rng(seed)
    kinds = (rng.random(cells) < 0.5).astype(int)
    out = []
    for _ in range(frames):
        where, signal = rng.uniform(0, 90, (cells, 2)), rng.uniform(0.5, 1.5, cells)
        away = where[None] - where[:, None]
        if turn is not None:
            away = away @ turn.T
        d = np.sqrt((away**2).sum(-1))
        receiver, sender = np.nonzero((d < 25) & (d > 0))
        gap, unit = d[receiver, sender], away[receiver, sender] / d[receiver, sender][:, None]
        size = np.array([[0.0, -0.3], [0.5, 0.1]])[kinds[receiver], kinds[sender]]
        pull = size * (gap / 25 * (1 - gap / 25)) * signal[sender]
        velocity = np.stack([np.bincount(receiver, pull * u, cells) for u in unit.T], 1)
        out.append(Pairs(receiver, sender, gap, unit, signal[sender], velocity))
    return kinds, out


def test_who_is_which_and_what_they_do_to_each_other_is_found_together():
    kinds, frames = moving(3)
    found = fit_forces(frames, 50, 25.0)
    same = (found.kinds == kinds).mean()
    assert max(same, 1 - same) == 1.0
    order = [0, 1] if same > 0.5 else [1, 0]
    d = np.linspace(1, 24, 40)
    drawn, pushed = found.curve(d, order[1], order[0]), found.curve(d, order[0], order[1])
    assert drawn.min() > -0.01 and pushed.max() < 0.01
    assert np.corrcoef(drawn, d / 25 * (1 - d / 25))[0, 1] > 0.999
    assert found.membership.shape == (50, 2) and np.allclose(found.membership.sum(1), 1)


def test_velocities_turn_with_the_tissue():
    angle = 0.7
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    kinds, frames = moving(3)
    _, turned = moving(3, turn=turn)
    found = fit_forces(frames, 50, 25.0)
    for a, b in zip(frames, turned):
        np.testing.assert_allclose(found.velocity(a, kinds) @ turn.T, found.velocity(b, kinds), atol=1e-5)
