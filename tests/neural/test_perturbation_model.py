"""Responses to drugs as weights: what training writes, prediction reads, and both say of what they do not know."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from neural.errors import TrainingError, WeightsError
from neural.perturbation_model import PerturbationModel
from neural.predict import predict_table
from neural.training import load_training, train
from neural.uncertainty import value_of_measuring

DRUGS = ["a", "b", "c", "d"]


def responses(doses: np.ndarray, seed: int = 0) -> np.ndarray:
    """Additive profiles of six read-outs with noise of 0.05."""
    profiles = np.random.default_rng(7).normal(0, 1, (len(DRUGS), 6))
    return (doses > 0) @ profiles + 0.05 * np.random.default_rng(seed).standard_normal((len(doses), 6))


def doses() -> np.ndarray:
    singles = np.repeat(np.eye(4), 3, 0) * np.tile([0.5, 1.0, 2.0], 4)[:, None]
    pairs = [[1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
    return np.concatenate([singles, np.array(pairs, float)])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("responses")
    u = doses()
    names = [f"protein{k}" for k in range(6)]
    pd.DataFrame(np.c_[u, responses(u)], columns=[*DRUGS, *names]).to_csv(folder / "table.csv", index=False)
    (folder / "t.yaml").write_text(
        "training: 1\nkind: perturbation\nname: made\ndata: {path: table.csv}\ndrugs: [a, b, c, d]\nunit: uM\n"
    )
    return train(folder / "t.yaml")


def test_unseen_pairs_are_foretold_inside_their_intervals(trained):
    model = PerturbationModel.load(trained)
    asked = np.array([[1, 0, 0, 1], [0, 1, 0, 1]], float)
    mean, half = model.predict(asked)
    truth = responses(asked, 5)
    assert np.sqrt(((mean - truth) ** 2).mean()) < 0.3
    assert (np.abs(mean - truth) < half).mean() > 0.8
    assert model.response_names == [f"protein{k}" for k in range(6)]


def test_card_has_scores_beside_controls(trained):
    scores = PerturbationModel.load(trained).card.raw["scores"]
    for what in ("left-out conditions", "left-out drugs"):
        assert set(scores[what]) == {"model", "additive", "ridge", "mean", "no effect"}
    held = scores["left-out conditions"]
    assert held["model"]["rmse"] < 0.5 * held["no effect"]["rmse"]
    assert trained.with_suffix(".md").read_text().count("additive") == 2


def test_what_lies_outside_the_data_is_flagged(trained):
    flags = PerturbationModel.load(trained).flags(
        np.array([[1, 0, 0, 0], [4, 0, 0, 0], [0.1, 0, 0, 0], [1, 1, 1, 0], [-1, 0, 0, 0]], float)
    )
    together = "3 drugs together, at most 2 were given"
    assert flags == ["", "a above 2", "a below 0.5", together, "a was never given below 0"]


def test_a_drug_never_given_is_foretold_less_surely(tmp_path):
    u = np.c_[doses()[:, :3], np.zeros(16)]
    given = (u > 0).any(1)
    model = PerturbationModel.fit(u[given], responses(u[given]), DRUGS, list("uvwxyz"))
    _, half = model.predict(np.array([[1, 0, 0, 0], [0, 0, 0, 1]], float))
    assert (half[1] > 2 * half[0]).all()
    assert model.flags(np.array([[0, 0, 0, 1.0]])) == ["d was never given"]
    gain = model.value(np.array([[1, 0, 0, 0], [0, 0, 0, 1], [1, 0, 0, 1]], float))
    assert gain[0] < gain[1] and gain[0] < gain[2]
    model.save(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(
        PerturbationModel.load(tmp_path / "m.safetensors").predict(doses())[0], model.predict(doses())[0]
    )


def test_intervals_narrow_as_data_grow():
    """The same drugs, each condition measured once, three and nine times."""
    widths = []
    for times in (1, 3, 9):
        u = np.tile(doses(), (times, 1))
        model = PerturbationModel.fit(u, responses(u, 1), DRUGS, list("uvwxyz"))
        widths.append(model.predict(doses())[1].mean())
    assert widths[0] > widths[1] > widths[2]


def test_doses_of_both_signs_do_opposite_things():
    u = np.concatenate([doses(), -doses()])
    y = responses(doses(), 2)
    model = PerturbationModel.fit(u, np.concatenate([y, -y]), DRUGS, list("uvwxyz"))
    up, down = model.predict(doses())[0], model.predict(-doses())[0]
    np.testing.assert_allclose(up, -down, atol=0.1 * np.abs(y).max())
    assert ((up - y) ** 2).mean() < 0.3 * (y**2).mean()


def test_predict_writes_a_row_per_condition(trained, tmp_path):
    (tmp_path / "asked.csv").write_text("a,d\n1,1\n9,0\n")
    table = predict_table(trained, tmp_path / "asked.csv")
    assert len(table) == 2
    assert table["flag"].tolist() == ["", "a above 2"]
    assert (table["protein0.lower"] < table["protein0"]).all()
    assert table["gain"].between(0, 1).all()


def test_measuring_helps_what_is_unsure_and_what_goes_with_it():
    covariance = np.array([[4.0, 2.0, 0.0], [2.0, 2.0, 0.0], [0.0, 0.0, 0.1]])
    gain = value_of_measuring(covariance, 0.0)
    assert gain[0] == pytest.approx((4 + 1) / 6.1)
    assert gain.argsort().tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("drugs: [a, q]", "no column 'q'"),
        ("responses: [protien1]", "did you mean 'protein1'"),
        ("drugs: []", "name the columns of doses"),
    ],
)
def test_wrong_names_are_told(trained, tmp_path, line, said):
    text = f"training: 1\nkind: perturbation\nname: x\ndata: {{path: {trained.parent / 'table.csv'}}}\n"
    (tmp_path / "t.yaml").write_text(
        text + ("" if line.startswith("drugs") else "drugs: [a]\n") + line + "\n"
    )
    with pytest.raises(TrainingError, match=said):
        train(tmp_path / "t.yaml", tmp_path / "w.safetensors")
    assert load_training(tmp_path / "t.yaml").spec["kind"] == "perturbation"


def test_other_kinds_are_refused(trained):
    from neural import Manipulator

    with pytest.raises(WeightsError, match="kind 'perturbation'"):
        Manipulator.load(trained)


def described(folder, count: int = 9, share: float = 1.0):
    """Drugs of three targets; what a drug does is its target's, and `1 - share` its own. The last is never given."""
    rng = np.random.default_rng(3)
    target = np.eye(3)[np.arange(count) % 3]
    profiles = share * target @ rng.normal(0, 1, (3, 8)) + (1 - share) * rng.normal(0, 1, (count, 8))
    names = [f"d{k}" for k in range(count)]
    given = np.repeat(np.eye(count)[:-1], 2, 0)
    table = np.c_[given[:, :-1], given @ profiles + 0.05 * rng.standard_normal((len(given), 8))]
    heads = [*names[:-1], *[f"r{k}" for k in range(8)]]
    pd.DataFrame(table, columns=heads).to_csv(folder / "table.csv", index=False)
    pd.DataFrame({"drug": names, **{f"t{k}": target[:, k] for k in range(3)}}).to_csv(
        folder / "drugs.csv", index=False
    )
    (folder / "t.yaml").write_text(
        "training: 1\nkind: perturbation\nname: made\ndata: {path: table.csv, descriptions: drugs.csv}\n"
        f"drugs: [{', '.join(names)}]\n"
    )
    return train(folder / "t.yaml"), profiles[-1]


def test_a_drug_never_given_is_foretold_from_its_target(tmp_path):
    found, truth = described(tmp_path)
    model = PerturbationModel.load(found)
    new = np.eye(9)[-1:]
    mean, half = model.predict(new)
    assert np.sqrt(((mean[0] - truth) ** 2).mean()) < 0.4 * np.sqrt((truth**2).mean())
    assert (np.abs(mean[0] - truth) < half[0]).mean() > 0.8
    assert model.flags(new) == ["d8 was never given (most like d2, 1.00)"]
    scores = model.card.raw["scores"]["left-out drugs"]
    assert scores["model"]["rmse"] < 0.6 * scores["model, drugs not described"]["rmse"]


def test_descriptions_that_say_nothing_are_not_believed(tmp_path):
    found, _ = described(tmp_path, share=0.0)
    model = PerturbationModel.load(found)
    assert model.card.architecture["unseen"]["alike"] == 0.0
    scores = model.card.raw["scores"]["left-out drugs"]
    assert scores["model"]["rmse"] < 1.1 * scores["model, drugs not described"]["rmse"]


def test_a_drug_without_description_is_named(tmp_path):
    described(tmp_path)
    (tmp_path / "drugs.csv").write_text("drug,t0\nd0,1\n")
    with pytest.raises(TrainingError, match=r"drug 'd1' is not in drugs\.csv"):
        train(tmp_path / "t.yaml")
    (tmp_path / "drugs.csv").unlink()
    with pytest.raises(TrainingError, match=r"data\.descriptions: no such file"):
        load_training(tmp_path / "t.yaml")
