"""Training files of spaces: weights and a card, the same after a stop, faults with their line."""

import numpy as np
import pytest
from cells_on_a_curve import GENES, PROTEINS, cells

from neural.encoders import Representation, neighbours_within, pooled
from neural.encoders.pooling import pooled_names
from neural.encoders.train import cells_of, held_out
from neural.errors import TrainingError
from neural.predict import predict_table
from neural.tables import read_measurements
from neural.training import load_training, train

FILE = """training: 1
kind: representation
name: both
data: {path: cells.csv}
space: {name: both, components: 3, states: day}
modalities:
  expression: {kind: counts, features: [GENES]}
  protein: {kind: real, features: [p0, p1, p2, p3, p4]}
fit: {epochs: 5, hidden: 8, seed: 2}
""".replace("GENES", ", ".join(GENES.features))

TISSUE = """training: 1
kind: representation
name: niche
scale: tissue
method: pca
data: {path: cells.csv}
space: {name: niche, components: 2}
modalities: {cells: {weights: both.safetensors}}
graph: {positions: [x, y], radius: 2}
"""


@pytest.fixture
def folder(tmp_path):
    import pandas as pd

    tables, _, angle = cells()
    columns = [*GENES.features, *PROTEINS.features]
    table = pd.DataFrame(np.hstack([tables["expression"], tables["protein"]]), columns=columns)
    table["day"] = np.where(angle < np.pi, "first", "second")
    table["x"], table["y"] = 10 * np.cos(angle), 10 * np.sin(angle)
    table.to_csv(tmp_path / "cells.csv", index=False)
    (tmp_path / "both.yaml").write_text(FILE)
    (tmp_path / "niche.yaml").write_text(TISSUE)
    return tmp_path


def test_a_training_file_gives_weights_and_a_card_with_controls(folder):
    weights = train(folder / "both.yaml")
    space = Representation.load(weights)
    assert set(space.space.reference_states) == {"mean", "first", "second"}
    assert space.card["split"] == {"training": 480, "held out": 120, "how": "cells at random"}
    card = (folder / "both.md").read_text()
    for control in ("PCA of the same dimension", "mean profile", "the half itself, smoothed"):
        assert control in card
    assert "![both](both.png)" in card
    assert (folder / "both.png").read_bytes().startswith(b"\x89PNG")
    first = weights.read_bytes()
    train(folder / "both.yaml", resume=True)
    assert weights.read_bytes() == first
    niche = Representation.load(train(folder / "niche.yaml"))
    assert (folder / "niche.png").stat().st_size > 5000, "a space without states has a map too"
    assert niche.space.scale == "tissue"
    assert niche.modalities[0].features == pooled_names(space.space.labels)
    assert niche.card["below"]["cells"]["space"] == "both"


def test_a_fit_goes_on_after_a_stop_to_the_same_bits(folder):
    file = folder / "both.yaml"
    file.write_text(FILE.replace("epochs: 5", "epochs: 25"))
    whole = train(file, folder / "whole.safetensors").read_bytes()

    def stop(done, total, text):
        if done == 22:
            raise KeyboardInterrupt

    target = folder / "both.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(file, target, progress=stop)
    assert not target.exists()
    seen = []
    train(file, target, resume=True, progress=lambda done, total, text: seen.append(done))
    assert seen[0] == 21
    assert target.read_bytes() == whole
    assert not list(folder.glob(".*checkpoint*"))
    # of another file nothing is taken over
    with pytest.raises(KeyboardInterrupt):
        train(file, target, progress=stop)
    file.write_text(FILE.replace("epochs: 5", "epochs: 24"))
    seen.clear()
    train(file, target, resume=True, progress=lambda done, total, text: seen.append(done))
    assert seen[0] == 1


def test_whole_groups_are_held_out(folder):
    groups = np.repeat(["a", "b", "c", "d", "e"], [50, 10, 40, 60, 40])
    for seed in range(4):
        rows = held_out(groups, 0.3, seed)
        apart = set(groups[rows]) & set(np.delete(groups, rows))
        assert not apart and 60 <= len(rows) < 120
    assert len(held_out(groups, 0.99, 0)) < 200, "something is left to train on"
    with pytest.raises(ValueError, match="two groups of cells, not 1 of 2"):
        held_out(np.array(["a", "a"]), 0.5, 0)
    (folder / "both.yaml").write_text(FILE.replace("seed: 2", "seed: 2, hold_out_by: day"))
    card = Representation.load(train(folder / "both.yaml")).card
    assert card["split"]["how"] == "whole groups of day"
    assert set(Representation.load(folder / "both.safetensors").space.reference_states) in (
        {"mean", "first"},
        {"mean", "second"},
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kind: counts", "kind: count", "modalities.expression.kind: must be counts, real or embedding"),
        ("kind: real,", "", "modalities.protein: give either kind"),
        ("components: 3", "components: 0", "space.components: must be at least 1"),
        ("fit:", "method: vaee\nfit:", "did you mean 'vae'"),
        ("fit:", "scale: tissue\nfit:", "a tissue space has a graph, and no other has"),
        ("epochs: 5", "hold_out: 1.5", "fit.hold_out: must be below 1"),
        ("cells.csv", "cell.csv", "data.path: no such file"),
        ("hidden: 8", "hidden: 1000000000", "fit.hidden: must be at most 4096"),
        ("hidden: 8", "hiden: 8", "unknown key 'hiden'; did you mean 'hidden'?"),
    ],
)
def test_faults_of_a_training_file_have_their_line(folder, old, new, message):
    (folder / "both.yaml").write_text(FILE.replace(old, new, 1))
    with pytest.raises(TrainingError) as caught:
        load_training(folder / "both.yaml")
    lines = str(caught.value)
    assert message in lines and "?:" not in lines


def test_faults_of_the_data_are_told(folder):
    (folder / "both.yaml").write_text(FILE.replace("p4]", "p5]"))
    with pytest.raises(TrainingError, match="no feature 'p5' in the data; there are g0"):
        train(folder / "both.yaml")
    with pytest.raises(TrainingError, match=r"no weights 'both.safetensors' beside the data"):
        train(folder / "niche.yaml")


@pytest.fixture
def cells_of_anndata(tmp_path):
    """The cells as others keep them: raw counts in a layer and in raw, proteins in a data frame, an embedding."""
    import anndata
    import pandas as pd
    import scipy.sparse

    tables, _, angle = cells(120)
    counts, proteins = tables["expression"], tables["protein"]
    data = anndata.AnnData(counts.copy(), var=pd.DataFrame(index=list(GENES.features)))
    data.raw = data.copy()
    data.layers["molecules"] = scipy.sparse.csr_matrix(counts)
    data.X = np.log1p(counts)
    data.obsm["protein"] = pd.DataFrame(proteins, index=data.obs_names, columns=list(PROTEINS.features))
    data.obsm["X_scGPT"] = np.stack([np.cos(angle), np.sin(angle)], 1)
    return data, tables, tmp_path / "cells.h5ad"


def read(path, asked):
    spec = {"space": {"name": "s", "components": 2}, "modalities": asked}
    return cells_of(spec, path, path.parent)


def test_counts_are_found_wherever_anndata_keeps_them(cells_of_anndata):
    data, tables, path = cells_of_anndata
    data[:, ::-1].copy().write_h5ad(path)
    genes = list(GENES.features)
    for where in ("molecules", "raw"):
        found = read(path, {"rna": {"kind": "counts", "values": where, "features": genes}})
        np.testing.assert_array_equal(found.tables["rna"], tables["expression"])
    with pytest.raises(ValueError, match=r"'rna', cell '0', g0: must be a count, .* \(got [0-9.]+\)"):
        read(path, {"rna": {"kind": "counts", "features": genes}})
    found = read(path, {"p": {"kind": "real", "values": "protein", "features": ["p3", "p1"]}})
    np.testing.assert_array_equal(found.tables["p"], tables["protein"][:, [3, 1]])
    by_model = read(path, {"fm": {"kind": "real", "values": "scGPT"}})
    np.testing.assert_array_equal(by_model.tables["fm"], data.obsm["X_scGPT"])
    assert by_model.modalities[0].features == ("scGPT1", "scGPT2")
    with pytest.raises(ValueError, match=r"'fm': no embedding or layer 'UCE' .nor X_uce, uce."):
        read(path, {"fm": {"kind": "real", "values": "UCE"}})


def test_anndata_that_cannot_be_learned_from_is_told(cells_of_anndata):
    data, _, path = cells_of_anndata
    names = list(data.var_names)
    data.X = data.layers["molecules"].toarray()
    data.var_names = [names[0], *names[:-1]]
    data.write_h5ad(path)
    with pytest.raises(ValueError, match="feature 'g0' is in the data 2 times"):
        read(path, {"rna": {"kind": "counts"}})
    assert read(path, {"rna": {"kind": "counts", "features": names[1:-1]}}).tables["rna"].shape == (120, 10)
    data.var_names = names
    data.X = 0 * data.X
    data.write_h5ad(path)
    assert np.isnan(read(path, {"rna": {"kind": "counts"}}).tables["rna"]).all(), (
        "no molecule, no measurement"
    )
    del data.X
    data.write_h5ad(path)
    with pytest.raises(ValueError, match=r"'rna': has no \.X; say in values"):
        read(path, {"rna": {"kind": "counts"}})
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match="is not AnnData"):
        read(path, {"rna": {"kind": "counts"}})


def test_a_sheet_may_name_its_cells_and_what_is_no_measurement_is_left_out(folder):
    import pandas as pd

    sheet = pd.read_csv(folder / "cells.csv")
    sheet["day"] = (sheet["day"] == "first").astype(int)
    sheet.index = [f"cell {k}" for k in range(len(sheet))]
    sheet.to_csv(folder / "named.csv")
    table = read_measurements(folder / "named.csv")
    assert table.names == list(sheet.index)
    spec = {"space": {"name": "s", "components": 2, "states": "day"}, "modalities": {"all": {"kind": "real"}}}
    found = cells_of(spec, folder / "named.csv", folder)
    assert found.modalities[0].features == tuple(c for c in sheet if c != "day")
    sheet.iloc[4, 13] = np.nan
    sheet.to_csv(folder / "named.csv")
    with pytest.raises(ValueError, match="modality 'all', cell 'cell 4', p1: is not finite"):
        cells_of(spec, folder / "named.csv", folder)
    (folder / "named.csv").write_text("a,b,a\n1,2,3\n")
    with pytest.raises(ValueError, match="column 'a' is there 2 times"):
        cells_of(spec, folder / "named.csv", folder)
    (folder / "named.csv").write_text("a,b\n1,x\n")
    spec["modalities"]["all"]["features"] = ["a", "b"]
    with pytest.raises(ValueError, match="column 'b' holds text"):
        cells_of(spec, folder / "named.csv", folder)


CELLULAR = """training: 1
kind: representation
name: cellular
data: {path: cells.csv}
space: {name: cellular, components: 2, states: day}
modalities:
  molecular: {weights: molecular.safetensors}
  expression: {kind: counts, features: [GENES]}
fit: {epochs: 3, hidden: 8}
""".replace("GENES", ", ".join(GENES.features))


def test_three_scales_are_trained_one_on_another_and_cells_placed_in_each(folder):
    (folder / "molecular.yaml").write_text(
        "training: 1\nkind: representation\nname: molecular\nscale: molecular\nmethod: pca\n"
        "data: {path: cells.csv}\nspace: {name: molecular, components: 2}\n"
        "modalities: {protein: {kind: real, features: [p0, p1, p2, p3, p4]}}\n"
    )
    (folder / "cellular.yaml").write_text(CELLULAR)
    (folder / "niche.yaml").write_text(TISSUE.replace("both", "cellular"))
    spaces = {}
    for name in ("molecular", "cellular", "niche"):
        spaces[name] = Representation.load(train(folder / f"{name}.yaml"))
    tables, _, angle = cells()
    molecular = spaces["molecular"].encode(tables["protein"])
    cellular = spaces["cellular"].encode({"molecular": molecular, "expression": tables["expression"]})
    places = 10 * np.stack([np.cos(angle), np.sin(angle)], 1)
    niche = spaces["niche"].encode(pooled(cellular, neighbours_within(places, 2)))
    for name, ur in (("molecular", molecular), ("cellular", cellular), ("niche", niche)):
        told = predict_table(folder / f"{name}.safetensors", folder / "cells.csv")
        np.testing.assert_allclose(told[list(spaces[name].space.labels)], ur, atol=1e-9)
        assert (told["flag"] != "").mean() < 0.1
    assert list(told.columns[:3]) == ["condition", "flag", "niche1"]
    # the space below is trained again: what was built on it knows
    (folder / "molecular.yaml").write_text((folder / "molecular.yaml").read_text() + "fit: {seed: 5}\n")
    train(folder / "molecular.yaml")
    with pytest.raises(
        TrainingError, match=r"molecular.safetensors is not what 'cellular' was trained on; train it"
    ):
        predict_table(folder / "cellular.safetensors", folder / "cells.csv")


def test_a_table_need_not_have_all_modalities_nor_their_order(folder):
    import pandas as pd

    weights = train(folder / "both.yaml")
    space, (tables, _, angle) = Representation.load(weights), cells()
    sheet = pd.read_csv(folder / "cells.csv")
    sheet.index = [f"cell {k}" for k in range(len(sheet))]
    sheet[[*reversed(PROTEINS.features)]].to_csv(folder / "proteins.csv")
    told = predict_table(weights, folder / "proteins.csv")
    mean, sd = space.posterior({"protein": tables["protein"]})
    np.testing.assert_allclose(told["both1"], mean[:, 0], atol=1e-9)
    np.testing.assert_allclose(told["both1.upper"] - told["both1.lower"], 2 * 1.645 * sd[:, 0], rtol=1e-3)
    assert told["cell"].tolist() == list(sheet.index) and set(told["state"]) <= {"first", "second"}
    whole = predict_table(weights, folder / "cells.csv")
    right = whole["state"].to_numpy() == np.where(angle < np.pi, "first", "second")
    assert right.mean() > 0.7 and (whole["state.probability"] >= 0.5).all()
    for columns, message in (
        (["p0", "g1", "p2"], "modality 'expression': no feature 'g0' in the data"),
        (["day", "x"], r"has nothing that space 'both' is made of: expression \(g0, g1, g2, …\), protein"),
    ):
        sheet[columns].to_csv(folder / "proteins.csv")
        with pytest.raises(TrainingError, match=message):
            predict_table(weights, folder / "proteins.csv")
    with pytest.raises(TrainingError, match=r"cannot be read \(no such file\); did you mean 'proteins.csv'"):
        predict_table(weights, folder / "protein.csv")


def test_cells_whose_state_is_not_known_are_placed_all_the_same(folder):
    import pandas as pd

    sheet = pd.read_csv(folder / "cells.csv")
    sheet.loc[::3, "day"] = None
    sheet.to_csv(folder / "cells.csv", index=False)
    space = Representation.load(train(folder / "both.yaml"))
    assert set(space.space.reference_states) == {"mean", "first", "second"}
    assert space.states.names == ("first", "second")
    assert len(predict_table(folder / "both.safetensors", folder / "cells.csv")) == 600
