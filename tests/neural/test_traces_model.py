"""Forecasts of tracks as weights."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from neural.errors import TrainingError
from neural.predict import predict_table
from neural.traces import choose
from neural.traces_model import TracesModel
from neural.training import train


def tracks(n: int, seed: int = 0, frames: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Two channels, the second following the first; treatment "b" rises."""
    rng = np.random.default_rng(seed)
    label = np.array(["a", "b"])[np.arange(n) % 2]
    x = np.zeros((n, frames))
    for t in range(1, frames):
        x[:, t] = 0.9 * x[:, t - 1] + 0.3 * rng.standard_normal(n)
    x += (label == "b")[:, None] * np.linspace(0, 2, frames)
    return np.stack([x, 0.5 * x + 0.1 * rng.standard_normal(x.shape)], -1), label


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("tracks")
    x, label = tracks(60)
    np.savez(where / "tracks.npz", ERK=x[..., 0], AKT=x[..., 1], factor=label)
    rows = [
        {"cell": i, "frame": t, "factor": label[i], "ERK": x[i, t, 0], "AKT": x[i, t, 1]}
        for i in range(len(x))
        for t in range(x.shape[1])
        if (i, t) != (3, 7)  # a gap
    ]
    pd.DataFrame(rows).to_csv(where / "tracks.csv", index=False)
    return where


def training(folder, data: str, more: str = ""):
    file = folder / "t.yaml"
    file.write_text(
        f"training: 1\nkind: traces\nname: made\ndata: {{path: {data}}}\nchannels: [ERK, AKT]\n"
        f"treatment: factor\ngiven: 12\nframe: 5\n{more}"
    )
    return file


@pytest.fixture(scope="module")
def trained(folder):
    return train(training(folder, "tracks.npz"), folder / "w.safetensors")


def test_forecasts_beat_persistence_inside_their_intervals(trained):
    model = TracesModel.load(trained)
    x, label = tracks(40, seed=9)
    mean, half = model.predict(x[:, :12], label)
    off = mean - x[:, 12:]
    still = x[:, 11:12] - x[:, 12:]
    assert (off**2).mean() < 0.8 * (still**2).mean()
    assert 0.8 < (np.abs(off) < half).mean() < 0.98


def test_card_has_scores_beside_controls(trained):
    scores = TracesModel.load(trained).card.raw["scores"]["left-out tracks"]
    assert set(scores) == {"model", "persistence", "treatment mean", "ridge"}
    assert scores["model"]["ERK skill"] > 0 == scores["persistence"]["ERK skill"]


def test_rows_of_a_sheet_give_the_same_tracks_as_an_archive(folder, trained, tmp_path):
    file = training(folder, "tracks.csv", "track: cell\ntime: frame\n")
    again = TracesModel.load(train(file, tmp_path / "w.safetensors"))
    one = TracesModel.load(trained)
    assert again.treatments == one.treatments == ["a", "b"]
    gap = np.zeros(one._tracks.shape, bool)
    gap[3, 7] = True
    np.testing.assert_allclose(again._tracks[~gap], one._tracks[~gap])
    between = 0.5 * (one._tracks[3, 6] + one._tracks[3, 8])
    np.testing.assert_allclose(again._tracks[3, 7], between)


def test_predict_foretells_tracks_of_a_table(trained, tmp_path):
    x, label = tracks(3, seed=5)
    x[2] += 20.0
    rows = [
        {"track": f"t{i}", "time": 5.0 * t, "treatment": "new" if i == 1 else label[i], "ERK": a, "AKT": b}
        for i in range(3)
        for t, (a, b) in enumerate(x[i, :14])
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "past.csv", index=False)
    table = predict_table(trained, tmp_path / "past.csv")
    assert len(table) == 3 * 12
    assert table["time"][:2].tolist() == [70.0, 75.0]
    said = table.groupby("track", sort=False)["flag"].first().tolist()
    assert said == ["", "treatment 'new' was never given", "the past is unlike any learned from"]
    gain = table.groupby("track", sort=False)["gain"].first()
    assert gain["t1"] > gain["t0"] == gain["t2"]


def test_intervals_narrow_as_data_grow():
    """Mean of two draws: that of 24 tracks is a matter of luck."""
    widths = [np.mean([choose(*tracks(n, seed), 12).width.mean() for seed in (2, 3)]) for n in (24, 60, 240)]
    assert widths[0] > widths[1] > widths[2]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("channels: [ERK, AKT]", "channels: [ERK, ATK]"), "did you mean 'AKT'"),
        (("given: 12", "given: 24"), "nothing is left"),
        (("treatment: factor", "treatment: drug"), "no array 'drug'"),
    ],
)
def test_faults_are_told(folder, tmp_path, change, said):
    file = training(folder, "tracks.npz")
    file.write_text(file.read_text().replace(*change))
    with pytest.raises(TrainingError, match=said):
        train(file, tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "said"),
    [
        ("x,55,1,1\n", "", 2, "track", "track x needs 12 frames with numbers"),
        ("x,25,1,1", "x,27,1,1", 2, "time", r"track x needs frames 5 apart, .* \(got 7\)"),
        ("x,25,1,1", "x,25 min,1,1", 7, "time", "must be a number \\(got '25 min'"),
        ("x,25,1,1", "x,25,,1", 7, "ERK", "must be a number \\(got ''"),
        ("x,25,1,1", "x,25,1,inf", 7, "AKT", "must be a number \\(got 'inf'"),
        ("ERK", "ERKK", 1, "ERK", "lacks the column 'ERK'; did you mean 'ERKK'"),
        ("x,25,1,1", "x,25,1,1,1,1", None, None, "cannot be read as a table"),
    ],
)
def test_a_past_that_is_none_is_told_with_its_line(trained, tmp_path, old, new, line, key, said):
    text = "track,time,ERK,AKT\n" + "".join(f"x,{5 * t},1,1\n" for t in range(12))
    (tmp_path / "p.csv").write_text(text.replace(old, new))
    with pytest.raises(TrainingError, match=said) as caught:
        predict_table(trained, tmp_path / "p.csv")
    assert caught.value.problems[0][1:3] == (line, key)


def test_a_table_without_tracks_and_tracks_that_never_change_are_refused(folder, trained, tmp_path):
    (tmp_path / "p.csv").write_text("track,time,ERK,AKT\n")
    with pytest.raises(TrainingError, match="holds no track"):
        predict_table(trained, tmp_path / "p.csv")
    file = training(folder, "tracks.npz")
    with np.load(folder / "tracks.npz") as z:
        arrays = dict(z)
    for change, said in (
        ({"ERK": np.ones_like(arrays["ERK"])}, "'ERK' is the same in all tracks"),
        ({"factor": arrays["factor"][:5]}, "'factor' has 5 values"),
        ({k: v[:3] for k, v in arrays.items()}, "3 tracks are whole enough"),
    ):
        np.savez(folder / "odd.npz", **arrays | change)
        (folder / "odd.yaml").write_text(file.read_text().replace("tracks.npz", "odd.npz"))
        with pytest.raises(TrainingError, match=said):
            train(folder / "odd.yaml", tmp_path / "w.safetensors")
