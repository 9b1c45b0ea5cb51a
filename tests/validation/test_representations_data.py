"""Spaces on measured cells: what a held-out cell keeps, beside rules that know less."""

import tarfile
from pathlib import Path

import numpy as np
import pytest

from neural.encoders import Modality, Representation, neighbours_within, pooled
from neural.encoders.pooling import pooled_names
from neural.encoders.scores import held_out_scores

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
OSMFISH, BODIES = SHARED / "tissue" / "osmfish-cortex.tar.gz", SHARED / "neural" / "eb_2750.npz"

pytestmark = pytest.mark.validation


def split(n, seed=0):
    order = np.random.default_rng(seed).permutation(n)
    return order[n // 5 :], order[: n // 5]


@pytest.fixture(scope="module")
def cortex():
    """Counts (cell, gene) of osmFISH cells with 10 molecules or more, the genes, and places [pixel]."""
    if not OSMFISH.exists():
        pytest.skip(f"{OSMFISH} is not here")
    import pandas as pd

    with tarfile.open(OSMFISH) as archive:

        def table(name):
            return pd.read_csv(
                archive.extractfile(f"osmfish-cortex/osmFISH_prep_{name}.txt"), sep="\t", index_col=0
            )

        expression, places = table("expression").T, table("cell_coordinates")
    expression = expression[expression.sum(axis=1) >= 10]
    return expression.to_numpy(float), tuple(expression), places.loc[expression.index].to_numpy(float)


def test_cortex_counts(cortex):
    """33 genes in 10 components: better than PCA and one profile; with the cell's own counts than these alone."""
    counts, genes, _ = cortex
    m = (Modality("expression", "counts", genes),)
    train, test = split(len(counts))
    models = {method: Representation.fit(counts[train], m, 10, "cortex", method) for method in ("vae", "pca")}
    scores = held_out_scores(models, m, {"expression": counts[train]}, {"expression": counts[test]}, 0)
    print(scores)
    half = {k: v["expression"] for k, v in scores["molecules of held-out cells [nat per molecule]"].items()}
    # the half itself has all 33 genes at its disposal, the space 10 components
    assert half["vae with the cell's own"] > half["the half itself, smoothed"] + 0.005
    assert half["vae"] > half["pca"] + 0.08
    assert half["pca"] > half["mean profile"] + 0.3
    whole = {
        k: v["expression"] for k, v in scores["held-out cells given their totals [nat per cell]"].items()
    }
    assert whole["vae"] > whole["negative binomial, one profile"] + 4
    assert whole["negative binomial, one profile"] > whole["Poisson, one profile"] + 50


def test_cortex_missing_genes(cortex):
    """Two panels of genes as two modalities: one foretells the other better than a linear model does."""
    counts, genes, _ = cortex
    first, second = Modality("first", "counts", genes[::2]), Modality("second", "counts", genes[1::2])
    tables = {"first": counts[:, ::2], "second": counts[:, 1::2]}
    train, test = split(len(counts))
    known, unknown = ({n: t[rows] for n, t in tables.items()} for rows in (train, test))
    models = {
        method: Representation.fit(known, (first, second), 8, "panels", method) for method in ("vae", "pca")
    }
    crossed = held_out_scores(models, (first, second), known, unknown, 0)[
        "from the other modalities [nat per molecule]"
    ]
    print(crossed)
    for panel in tables:
        assert crossed["vae"][panel] > crossed["pca"][panel] + 0.02
        assert crossed["vae"][panel] > crossed["mean"][panel] + 0.2


def test_cortex_niches(cortex):
    """Cellular space pooled over neighbours within 600 pixels: a tissue space beside its linear control."""
    counts, genes, places = cortex
    m = (Modality("expression", "counts", genes),)
    train, test = split(len(counts))
    cells = Representation.fit(counts[train], m, 10, "cells", epochs=120)
    around = pooled(cells.encode(counts), neighbours_within(places, 600.0))
    niche = (Modality("cells", "embedding", pooled_names(cells.space.labels), blocks=3),)
    models = {
        method: Representation.fit(around[train], niche, 8, "niche", method, "tissue")
        for method in ("vae", "pca")
    }
    scores = held_out_scores(models, niche, {"cells": around[train]}, {"cells": around[test]}, 0)
    print(scores)
    explained = {k: v["cells"] for k, v in scores["variance explained in held-out cells"].items()}
    assert explained["vae"] > explained["pca, nearest point"] + 0.01


def test_embryoid_bodies():
    """100 principal components in 10: the network gives back more than any plane can, by distance and axis by axis."""
    if not BODIES.exists():
        pytest.skip(f"{BODIES} is not here")
    x = np.load(BODIES)["X"].astype(float)
    train, test = split(len(x))
    for kind, least in (("embedding", 0.6), ("real", 0.14)):
        m = (Modality("cells", kind, tuple(f"PC{k + 1}" for k in range(x.shape[1]))),)
        models = {method: Representation.fit(x[train], m, 10, "eb", method) for method in ("vae", "pca")}
        scores = held_out_scores(models, m, {"cells": x[train]}, {"cells": x[test]}, 0)
        print(kind, scores)
        explained = {k: v["cells"] for k, v in scores["variance explained in held-out cells"].items()}
        assert explained["vae"] > explained["pca, nearest point"] + 0.03
        assert explained["vae"] > least
