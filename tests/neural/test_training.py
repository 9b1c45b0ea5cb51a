"""Training: what is refused; that a fit learns, resumes bit for bit, and reads no combination well."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from neural import Manipulator
from neural.errors import Misfit, TrainingError
from neural.fit_drugs import DrugFit, Plan, held_out_folds, run, training_rows
from neural.population import CHANNELS
from neural.scores import combination_scores, relative
from neural.training import load_training, train
from neural.uncertainty import conformal_quantile, coverage
from neural.wells import read_wells

TRAINING = Path(__file__).parents[2] / "scenarios" / "training"
HOURS = np.arange(0.0, 73.0, 12.0)


def curves(a, b, hours, seed):
    """Wells of two drugs: `a` stops division, `b` kills. Independent actions by construction, plus noise."""
    rng = np.random.default_rng(seed)
    growth = 0.04 / (1 + (a / 0.05) ** 2)
    dying = 0.002 + 0.03 * b**2 / (b**2 + 0.2**2)
    live, apoptotic, dead = 8.0, 0.05, 0.05
    out, dt = [], 0.25
    for t in np.arange(0.0, hours[-1] + dt, dt):
        if t % hours[1] == 0.0:
            out.append([live, 0.3 + 0.5 * apoptotic, 0.05 + 0.2 * dead])
        flow = dying * live
        live, apoptotic, dead = (
            live + dt * (growth * live * (1 - live / 95) - flow),
            apoptotic + dt * (flow - 0.12 * apoptotic),
            dead + dt * (0.12 * apoptotic - 0.02 * dead),
        )
    return np.array(out[: len(hours)]) * np.exp(0.03 * rng.normal(size=(len(hours), 3)))


def write_wells(path, experiments, singles, pairs=()):
    """A set in the form of the real one: two drugs, each experiment on a plate of its own, two replicates a well."""
    rows, y = [], []
    for e, exp in enumerate(experiments):
        for a, b in [(0.0, 0.0), *singles, *pairs]:
            dose = {k: v for k, v in (("A", a), ("B", b)) if v}
            rows.append((exp, "one", json.dumps(dose)))
            y.append(np.concatenate([curves(a, b, HOURS, 100 * e + len(rows) + r) for r in (0, 1000)]))
    exp, plate, dose = zip(*rows, strict=True)
    hours = np.arange(2 * len(HOURS)) * HOURS[1]
    np.savez(
        path, Y=np.array(y), time_h=hours, exp=np.array(exp), plate=np.array(plate), dose_uM=np.array(dose)
    )
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    singles = [(a, 0.0) for a in (0.02, 0.05, 0.2)] + [(0.0, b) for b in (0.1, 0.2, 0.5)]
    path = tmp_path_factory.mktemp("wells") / "wells.npz"
    return write_wells(path, ("first", "second"), singles, [(0.05, 0.2), (0.2, 0.5)])


@pytest.fixture(scope="module")
def wells(table):
    return read_wells(table, {"arrester": "A", "killer": "B"}, 2)


PLAN = Plan(
    pattern=[[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]],
    tau=[360.0, 600.0],
    hidden=4,
    step=360.0,
    folds=2,
    iterations=40,
    rate=0.05,
)


def training_text(table):
    return f"""training: 1
kind: manipulator
name: two_drugs
data: {{path: {table}, replicates: 2}}
drugs: {{arrester: A, killer: B}}
space:
  name: small
  components:
    - {{name: arrest, hours: 6, reads: {{division: 1}}}}
    - {{name: death, hours: 10, reads: {{apoptosis: 1}}}}
architecture: {{hidden: 4, residual: 0.2, step: 360}}
fit: {{folds: 2, seed: 3, iterations: 20, rate: 0.05}}
"""


def test_wells_are_read_as_they_were_measured(wells):
    assert wells.curves.shape == (18, 2, len(HOURS), 3)
    np.testing.assert_allclose(wells.time, HOURS * 60.0)
    assert wells.drugs == ["arrester", "killer"] and wells.experiments == ["first", "second"]
    assert (wells.drugs_given == 2).sum() == 4


def test_wrong_number_of_replicates_is_seen(table):
    names = {"arrester": "A", "killer": "B"}
    with pytest.raises(ValueError, match="do not start again every 14 frames"):
        read_wells(table, names, 1)
    with pytest.raises(ValueError, match="do not start again every 2 frames"):
        read_wells(table, names, 7)
    with pytest.raises(ValueError, match="cannot be 4 replicates"):
        read_wells(table, names, 4)
    with pytest.raises(Misfit, match="drug 'B' that the training file does not name"):
        read_wells(table, {"arrester": "A"}, 2)


def test_combination_wells_change_nothing_in_the_fit(wells):
    """Scramble every combination well: the fit stays the same, bit for bit."""
    scrambled = wells.curves.copy()
    scrambled[wells.drugs_given == 2] = 50.0
    fits = [DrugFit(w, PLAN) for w in (wells, replace(wells, curves=scrambled))]
    for fit in fits:
        run(fit, until=2)
    for a, b in zip(fits[0].modules.parameters(), fits[1].modules.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not (wells.drugs_given[training_rows(wells)] > 1).any()


def test_left_out_wells_do_not_touch_their_member(wells):
    """Scramble the wells of fold 0: the member that leaves them out stays the same, the others do not."""
    rows = training_rows(wells)
    fold = held_out_folds(wells, rows, PLAN.folds)
    assert sorted(set(fold.tolist())) == [-1, 0, 1] and (wells.drugs_given[rows][fold == -1] == 0).all()
    fits = [DrugFit(wells, PLAN), DrugFit(wells, PLAN)]
    fits[1].target[:, :, : len(rows)][:, :, fold == 0] += 1.0
    for fit in fits:
        for _ in range(3):
            fit.optimizer.zero_grad()
            per_well, penalty = fit.losses()
            ((per_well * fit.weight).sum(1) + penalty).sum().backward()
            fit.optimizer.step()
    for a, b in zip(fits[0].modules.parameters(), fits[1].modules.parameters(), strict=True):
        assert torch.equal(a[1], b[1])
    assert not torch.equal(fits[0].decoders.base[0], fits[1].decoders.base[0])


def test_fit_predicts_unseen_combinations(wells):
    """From single drugs to the pair, on data whose drugs act independently: better than no effect, by far."""
    fit = DrugFit(wells, PLAN)
    run(fit)
    fitted = fit.finish()
    first, last = fit.history[0], fit.history[-1]
    assert last[1] < 0.5 * first[1]
    assert last[2] < 0.7 * first[2]
    from neural.train_drugs import predict_wells

    table = combination_scores(wells, {"network": predict_wells(fit, fitted, wells)})["replicates"]
    for channel in ("live_area", "dead_dna"):
        assert table["network"][channel]["rmse_log"] < 0.5 * table["no effect"][channel]["rmse_log"]


def test_scores_of_controls_on_a_case_by_hand(wells):
    """Perfect prediction has no error, Bliss has skill 0, the replicate is one run against the other."""
    truth = relative(wells.curves.mean(1))
    same = replace(wells, curves=np.repeat(wells.curves[:, :1], 2, 1))
    perfect = combination_scores(same, {"network": relative(same.curves[:, 0])})
    assert perfect["replicates"]["network"]["live_area"]["rmse_log"] == 0.0
    assert perfect["file"]["network"]["dead_dna"]["skill"] == 1.0
    table = combination_scores(wells, {"network": truth})["replicates"]
    assert table["Bliss"]["live_area"]["skill"] == 0.0
    laid = relative(wells.curves.reshape(len(wells.dose), -1, 3))
    pair = [np.nonzero((wells.experiment == e) & (wells.drugs_given == 2))[0] for e in (0, 1)]
    want = np.sqrt(((laid[pair[0]] - laid[pair[1]])[..., 0] ** 2).mean())
    assert table["replicate"]["live_area"]["rmse_log"] == pytest.approx(want)


def test_train_writes_weights_and_card_and_resumes_to_the_same_bits(table, tmp_path):
    file = tmp_path / "t.yaml"
    file.write_text(training_text(table))
    seen = []
    whole = train(file, tmp_path / "whole.safetensors", progress=lambda i, n, text: seen.append((i, n)))
    assert seen == [(10, 20), (20, 20)] * 2
    text = whole.with_suffix(".md").read_text()
    assert "combinations: replicates" in text and "Bliss" in text and "never read in training" in text

    class Stop(Exception):
        pass

    def stop(i, _n, _text):
        if i == 10:
            raise Stop

    with pytest.raises(Stop):
        train(file, tmp_path / "cut.safetensors", progress=stop)
    assert not (tmp_path / "cut.safetensors").exists()
    after = []
    train(file, tmp_path / "cut.safetensors", resume=True, progress=lambda i, n, text: after.append(i))
    assert after == [20, 10, 20]
    assert (tmp_path / "cut.safetensors").read_bytes() == whole.read_bytes()
    assert [p.name for p in tmp_path.iterdir() if "checkpoint" in p.name] == []
    model = Manipulator.load(whole)
    assert model.condition_names == ["arrester", "killer"] and model.space == "small"


def test_shipped_training_files_are_right():
    assert load_training(TRAINING / "contact.yaml").spec["kind"] == "tissue"
    job = load_training(TRAINING / "pc9_drugs.yaml", need_data=False)
    assert job.output.resolve() == (TRAINING.parent / "weights" / "pc9_drugs.safetensors").resolve()


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "message"),
    [
        ("kind: manipulator", "kind: manipulater", 2, "kind", "did you mean 'manipulator'"),
        ("kind: manipulator", "kind: [manipulator]", 2, "kind", "unknown kind"),
        ("name: two_drugs", "name: two_drugs\nnotes: [[]]", 4, "notes[0]", "must be text"),
        ("folds: 2", "fold: 2", 12, "fit.fold", "did you mean 'folds'"),
        ("folds: 2", "folds: 1", 12, "fit.folds", "at least 2"),
        ("rate: 0.05", "rate: -1e-3", 12, "fit.rate", "above 0"),
        ("rate: 0.05", "rate: .nan", 12, "fit.rate", "must be a number"),
        ("hours: 10", "hours: soon", 10, "space.components[1].hours", "must be a number"),
        (
            "reads: {apoptosis: 1}",
            "reads: {apoptosys: 1}",
            10,
            "space.components[1].reads.apoptosys",
            "apoptosis",
        ),
        ("replicates: 2", "replicates: true", 4, "data.replicates", "must be a whole number"),
        ("name: two_drugs\n", "", 1, "name", "is missing"),
        ("killer: B", "killer: 3", 5, "drugs.killer", "data's name"),
        ("killer: B", "killer: A", 5, "drugs.killer", "'A' is named twice, here and as arrester"),
        ("killer: B", "hours: B", 5, "drugs.hours", "name it otherwise"),
        ("killer: B", "a killer: B", 5, "drugs.a killer", "use letters, digits and _"),
        ("name: death", "name: arrest", 10, "space.components[1].name", "name of a component above"),
        ("name: small", "name: small one", 7, "space.name", "use letters, digits and _"),
        ("replicates: 2", "replicates: 2, in_use: []", 4, "data.in_use", "names no experiment"),
        ("replicates: 2", "replicates: 2, in_use: [one, one]", 4, "data.in_use", "names 'one' twice"),
        ("rate: 0.05", "rate: 2", 12, "fit.rate", "at most 1"),
        ("step: 360", "step: 1e-6", 11, "architecture.step", "at least 1"),
        ("step: 360", "monolayer: {overlap: 5}", 11, "architecture.monolayer.overlap", "at most 1"),
        ("replicates: 2", "replicates: 2.5", 4, "data.replicates", "must be a whole number"),
        ("seed: ", "seed: 1000000000000000000000", 12, "fit.seed", "must be a whole number"),
        ("name: two_drugs", "name: two_drugs\noutput: w.pkl", 4, "output", "a .safetensors file"),
        ("name: two_drugs", "name: two_drugs\noutput: taken.safetensors", 4, "output", "is a folder"),
        ("training: 1", "training: 2", 1, "training", "training: 1"),
        ("path: ", "path: nowhere/", 4, "data.path", "no such file"),
        ("wells.npz", "well.npz", 4, "data.path", "did you mean 'wells.npz'?"),
    ],
)
def test_wrong_training_files_name_line_and_key(table, tmp_path, old, new, line, key, message):
    file = tmp_path / "t.yaml"
    (tmp_path / "taken.safetensors").mkdir()
    file.write_text(training_text(table).replace(old, new))
    with pytest.raises(TrainingError) as caught:
        load_training(file)
    assert [(ln, k) for _, ln, k, m in caught.value.problems if message in m] == [(line, key)]


@pytest.mark.parametrize(
    ("old", "new", "key", "message"),
    [
        ("killer: B", "killer: C", "drugs", "drug 'B' that the training file does not name"),
        ("killer: B", "killer: B, other: C", "drugs.other", "no well was given 'C'"),
        ("replicates: 2", "replicates: 4", "data.replicates", "14 frames cannot be 4 replicates"),
        ("replicates: 2", "replicates: 14", "data.replicates", "has 1 frame; two are needed"),
        ("replicates: 2", "replicates: 2, in_use: [third]", "data.in_use", "there are first, second"),
        ("folds: 2", "folds: 13", "fit.folds", "12 wells of single drugs cannot be left out in 13 parts"),
    ],
)
def test_what_does_not_go_with_the_data_is_told_at_its_key_and_nothing_is_left(
    table, tmp_path, old, new, key, message
):
    file = tmp_path / "t.yaml"
    file.write_text(training_text(table).replace(old, new))
    with pytest.raises(TrainingError, match=message) as caught:
        train(file, tmp_path / "w.safetensors")
    line = next(n for n, text in enumerate(file.read_text().splitlines(), 1) if new in text)
    assert caught.value.problems[0][1:3] == (line, key)
    assert [p.name for p in tmp_path.iterdir()] == ["t.yaml"]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "Y",
            lambda y: np.where(np.arange(14)[None, :, None] == 3, np.nan, y),
            r"finite \(got nan at \[0, 3, 0",
        ),
        ("Y", lambda y: y[..., 0], "must have 3 axes"),
        ("Y", lambda y: y[..., :2], "3 channels"),
        ("Y", lambda y: y / 100, "in percent of the image, not as a share"),
        ("Y", lambda y: -y, "must be above 0"),
        ("Y", lambda y: y[:5], "has 5 values|18 values for 5 wells"),
        ("time_h", lambda t: t[::-1], "time_h must ascend"),
        ("time_h", lambda t: t[:5], "5 values for 14 frames"),
        ("time_h", lambda t: np.array(["noon"] * len(t)), "must hold numbers \\(got 'noon'"),
        ("exp", lambda e: e[:4], "4 values for 18 wells"),
        ("dose_uM", lambda d: np.array(["A=1", *d[1:]]), r"well 0 must be doses .* \(got 'A=1'"),
        ("dose_uM", lambda d: np.array([*d[:-1], '{"A": -1}']), "well 17 must be doses from 0 on"),
        ("dose_uM", lambda d: np.array([*d[:-1], "[1]"]), "well 17 must be doses"),
        ("plate", None, "no array 'plate'"),
    ],
)
def test_measurements_that_are_none_are_told_before_anything_is_fitted(
    table, tmp_path, name, change, message
):
    with np.load(table) as z:
        arrays = {k: z[k] for k in z.files}
    given = arrays.pop(name)
    if change is not None:
        arrays[name] = change(given)
    np.savez(tmp_path / "w.npz", **arrays)
    with pytest.raises((ValueError, KeyError), match=message):
        read_wells(tmp_path / "w.npz", {"arrester": "A", "killer": "B"}, 2)


def test_wells_without_combinations_are_fitted_and_the_card_says_what_cannot_be_told(table, tmp_path):
    with np.load(table) as z:
        alone = np.array([len(json.loads(str(d))) < 2 for d in z["dose_uM"]])
        arrays = {k: z[k] if k == "time_h" else z[k][alone] for k in z.files}
    np.savez(tmp_path / "alone.npz", **arrays)
    file = tmp_path / "t.yaml"
    file.write_text(training_text(tmp_path / "alone.npz"))
    text = train(file, tmp_path / "w.safetensors").with_suffix(".md").read_text()
    assert "- combinations: cannot be told" in text and "held out single wells" in text


def test_intervals_narrow_as_wells_grow(tmp_path):
    """Every channel's, in the mean over doses within the range and all frames."""
    width = []
    for experiments, doses in (("a", 3), ("abcd", 6)):
        alone = [(a, 0.0) for a in np.geomspace(0.02, 0.2, doses)]
        alone += [(0.0, b) for b in np.geomspace(0.1, 0.5, doses)]
        file = tmp_path / "t.yaml"
        file.write_text(training_text(write_wells(tmp_path / "w.npz", experiments, alone)))
        model = Manipulator.load(train(file, tmp_path / "w.safetensors"))
        given = {"arrester": [0.06, 0.15, 0, 0], "killer": [0, 0, 0.25, 0.4]}
        course = model.evolve(model.initial("untreated"), HOURS * 60.0, given, live_area=8.0)
        apart = np.log2(course["upper"] + 0.01) - np.log2(course["lower"].clip(0) + 0.01)
        width.append(apart.sel(quantity=[f"channel.{c}" for c in CHANNELS]).mean(("cell", "time")).values)
    assert (width[1] < 0.9 * width[0]).all()


def test_all_problems_come_at_once(table, tmp_path):
    file = tmp_path / "t.yaml"
    file.write_text(training_text(table).replace("folds: 2", "folds: 0").replace("hours: 6", "hours: -6"))
    with pytest.raises(TrainingError) as caught:
        load_training(file)
    assert [p[1] for p in caught.value.problems] == [9, 12]


def test_what_a_message_quotes_is_short_and_prints(table, tmp_path):
    file = tmp_path / "t.yaml"
    text = training_text(table).replace("hours: 6", f"hours: {'z' * 3000}").replace("kind: m", 'kind: "\\em')
    file.write_text(text.replace("manipulator\n", 'anipulator"\n'))
    for _ in range(2):
        with pytest.raises(TrainingError) as caught:
            load_training(file)
        messages = [message for *_, message in caught.value.problems]
        assert all(len(m) < 200 and m.isprintable() for m in messages)
        file.write_text(text.replace('"\\em', "m"))


def test_conformal_quantile_covers_new_units():
    """Coverage of new draws at 90 %, over many calibrations, lies between the bounds of the theorem."""
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(400):
        width = conformal_quantile(np.abs(rng.normal(size=40)), 0.9)
        new = rng.normal(size=200)
        inside.append(coverage(new, np.full(200, -width), np.full(200, width)))
    assert 0.885 < np.mean(inside) < 0.93
    assert conformal_quantile(np.array([[1.0, np.nan], [np.nan, np.nan]]), 0.9) == 1.0
    with pytest.raises(ValueError, match="no held-out"):
        conformal_quantile(np.full((2, 2), np.nan), 0.9)
