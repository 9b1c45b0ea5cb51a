"""Spaces of several modalities against closed forms and against data made with a known structure."""

import numpy as np
import pytest
from cells_on_a_curve import GENES, PROTEINS, cells
from scipy.stats import nbinom

from neural.encoders import Modality, Representation, neighbours_within, pooled
from neural.encoders.modalities import Scale
from neural.encoders.pooling import pooled_names
from neural.encoders.scores import held_out_scores, one_profile
from neural.encoders.thinning import halves, per_molecule
from neural.errors import WeightsError

QUICK = {"epochs": 60, "hidden": 24, "rate": 5e-3}


@pytest.fixture(scope="module")
def data():
    return cells()


@pytest.fixture(scope="module")
def vae(data):
    return Representation.fit(data[0], (GENES, PROTEINS), 3, "s", "vae", **QUICK)


@pytest.fixture(scope="module")
def pca(data):
    return Representation.fit(data[0], (GENES, PROTEINS), 3, "s", "pca")


def test_linear_posterior_is_that_of_the_joint_gaussian(data, pca):
    """Mean and variance of z given any part of x, from the covariance of (x, z) itself."""
    tables, _, _ = data
    t = pca.model.tensors
    w = np.concatenate([t["expression.loadings"], t["protein.loadings"]])
    covariance = w @ w.T + t["noise"][0] * np.eye(17)
    for shown, rows in ((["expression", "protein"], slice(0, 17)), (["protein"], slice(12, 17))):
        x = np.concatenate([pca.model.scales[n].to(tables[n][:9]) for n in shown], 1)
        gain = w[rows].T @ np.linalg.inv(covariance[rows, rows])
        mean, sd = pca.posterior({n: tables[n][:9] for n in shown})
        np.testing.assert_allclose(mean, x @ gain.T, atol=1e-9)
        np.testing.assert_allclose(sd[0] ** 2, np.diag(np.eye(3) - gain @ w[rows]), atol=1e-9)


def test_linear_components_span_those_of_the_covariance(data, pca):
    tables, _, _ = data
    x = np.concatenate([pca.model.scales[m.name].to(tables[m.name]) for m in (GENES, PROTEINS)], 1)
    _, vectors = np.linalg.eigh(np.cov(x.T))
    w = np.concatenate([pca.model.tensors[f"{m}.loadings"] for m in ("expression", "protein")])
    angles = np.linalg.svd(np.linalg.qr(w)[0].T @ vectors[:, -3:])[1]
    np.testing.assert_allclose(angles, 1, atol=1e-8)


def test_the_negative_binomial_is_scipys():
    import torch

    from neural.encoders.vae import negative_binomial

    x, mean, r = np.array([0.0, 3, 40]), np.array([0.5, 7.0, 22.0]), np.array([0.3, 2.0, 1e3])
    got = negative_binomial(*(torch.as_tensor(a) for a in (x, np.log(mean), np.log(r))))
    np.testing.assert_allclose(got.numpy(), nbinom.logpmf(x, r, r / (r + mean)), rtol=1e-10)


def test_experts_are_multiplied(data, vae):
    """Precisions of the opinions add to the prior's; no measurement leaves the prior."""
    tables, _, _ = data
    few = {n: t[:5] for n, t in tables.items()}
    opinion = vae.model._opinion
    alone = {n: opinion({n: t}) for n, t in few.items()}
    precision = 1 + sum(1 / sd**2 - 1 for _, sd in alone.values())
    mean = sum(m / sd**2 for m, sd in alone.values()) / precision
    got_mean, got_sd = opinion(few)
    np.testing.assert_allclose(got_sd, precision**-0.5, rtol=1e-9)
    np.testing.assert_allclose(got_mean, mean, rtol=1e-6, atol=1e-9)
    assert np.all(got_sd < np.minimum(alone["expression"][1], alone["protein"][1]) + 1e-12)
    nothing = {n: np.full_like(t, np.nan) for n, t in few.items()}
    mean, sd = vae.posterior(nothing)
    assert not mean.any() and np.all(sd == 1)
    patchy = {"expression": few["expression"].copy(), "protein": few["protein"].copy()}
    patchy["protein"][2] = np.nan
    mean, _ = vae.posterior(patchy)
    np.testing.assert_allclose(mean[2], alone["expression"][0][2], rtol=1e-9)
    np.testing.assert_allclose(mean[[0, 1]], got_mean[[0, 1]], rtol=1e-9)


def test_intervals_hold_nine_tenths_of_what_was_there(vae):
    """Representations are drawn, measurements made of them by the decoders, and encoded."""
    rng = np.random.default_rng(4)
    z = rng.normal(size=(4000, 3))
    said = vae.decode(z)
    r = np.exp(vae.model.tensors["noise.expression"])
    mean = 70 * said["expression"]
    noise = np.exp(vae.model.tensors["noise.protein"]) * vae.model.scales["protein"].spread
    made = {
        "expression": rng.poisson(rng.gamma(r, mean / r)).astype(float),
        "protein": said["protein"] + noise * rng.normal(size=said["protein"].shape),
    }
    for shown in (["expression", "protein"], ["expression"], ["protein"]):
        middle, sd = vae.posterior({n: made[n] for n in shown})
        assert 0.85 < (np.abs(z - middle) < 1.645 * sd).mean() < 0.95


def test_depth_is_no_part_of_the_representation(data, vae, pca):
    tables, _, _ = data
    counts = tables["expression"][:4]
    for space in (vae, pca):
        one, ten = (space.encode({"expression": c}) for c in (counts, 10 * counts))
        np.testing.assert_allclose(one, ten, atol=1e-9)
        np.testing.assert_allclose(space.decode(one)["expression"].sum(1), 1, rtol=1e-9)


def test_a_missing_modality_is_foretold_from_the_other(vae):
    tables, shares, _ = cells(seed=7)
    ur = vae.encode({"protein": tables["protein"]})
    own, mean = vae.decode(ur)["expression"], shares.mean(0)
    assert ((own - shares) ** 2).sum() < 0.1 * ((mean - shares) ** 2).sum()
    back = vae.decode(vae.encode({"expression": tables["expression"]}))["protein"]
    left = ((back - tables["protein"]) ** 2).sum() / (
        (tables["protein"] - tables["protein"].mean(0)) ** 2
    ).sum()
    assert left < 0.35


def test_a_fit_gives_the_same_bits_again_and_others_for_another_seed(data):
    few = {n: t[:150] for n, t in data[0].items()}
    fits = [
        Representation.fit(few, (GENES, PROTEINS), 2, "s", seed=seed, epochs=4, hidden=8)
        for seed in (3, 3, 4)
    ]
    for name, t in fits[0].model.tensors.items():
        np.testing.assert_array_equal(t, fits[1].model.tensors[name])
    assert not np.array_equal(fits[0].encode(few), fits[2].encode(few))


@pytest.mark.parametrize("method", ["pca", "vae"])
def test_what_is_saved_comes_back(tmp_path, data, method):
    tables, _, _ = data
    words = np.where(data[2] < np.pi, "early", "late")
    made = Representation.fit(
        tables,
        (GENES, PROTEINS),
        2,
        "s",
        method,
        "molecular",
        words,
        **({"epochs": 3} if method == "vae" else {}),
    )
    made.save(tmp_path / "s.safetensors", notes=["kept"])
    back = Representation.load(tmp_path / "s.safetensors")
    np.testing.assert_array_equal(back.encode(tables), made.encode(tables))
    for name, values in made.decode(made.encode(tables)).items():
        np.testing.assert_array_equal(back.decode(back.encode(tables))[name], values)
    assert (back.space.name, back.space.dimension, back.space.scale) == ("s", 2, "molecular")
    assert set(back.space.reference_states) == {"mean", "early", "late"} and back.card["notes"] == ["kept"]
    np.testing.assert_allclose(
        back.space.reference_states["early"], made.encode(tables)[words == "early"].mean(0)
    )


def test_weights_of_another_kind_are_refused(tmp_path):
    from neural import weights

    weights.save(
        tmp_path / "n.safetensors", {"a": np.zeros(2)}, {"kind": "network", "name": "n", "architecture": {}}
    )
    with pytest.raises(WeightsError, match="'representation' is needed"):
        Representation.load(tmp_path / "n.safetensors")


def test_halves_are_independent_poisson_halves():
    counts = np.random.default_rng(0).poisson(6.0, (4000, 3))
    a, b = halves(counts, 1)
    np.testing.assert_array_equal(a + b, counts)
    assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.03
    assert a.mean() == pytest.approx(3, abs=0.06) and a.var() == pytest.approx(3, abs=0.15)
    np.testing.assert_array_equal(halves(counts, 1)[0], a)
    assert per_molecule(counts, np.full(counts.shape, 1 / 3)) == pytest.approx(np.log(1 / 3))


def test_one_profile_is_what_made_the_data():
    rng = np.random.default_rng(4)
    share, r = np.array([0.5, 0.3, 0.2]), 2.0
    total = rng.uniform(50, 150, (3000, 1))
    mean = total * share
    counts = rng.poisson(rng.gamma(r, mean / r)).astype(float)
    # the totals are told by the counts themselves
    found = one_profile(counts[:2000], counts[2000:])
    assert found["negative binomial, one profile"] > found["Poisson, one profile"] + 1


def test_scores_stand_beside_their_controls(data, vae, pca):
    test, _, _ = cells(200, seed=9)
    scores = held_out_scores({"vae": vae, "pca": pca}, (GENES, PROTEINS), data[0], test, 0)
    molecules = scores["molecules of held-out cells [nat per molecule]"]
    assert molecules["vae"]["expression"] > molecules["mean profile"]["expression"] + 0.2
    assert molecules["vae"]["expression"] > molecules["the half itself, smoothed"]["expression"]
    assert scores["variance explained in held-out cells"]["pca"]["protein"] > 0.8
    crossed = scores["from the other modalities [nat per molecule]"]
    assert crossed["vae"]["expression"] > crossed["mean"]["expression"] + 0.2


def test_denoising_is_the_mean_of_the_gamma_poisson_posterior(data, vae):
    """Against the posterior summed over a grid of rates."""
    counts = data[0]["expression"][:1]
    total = counts.sum()
    mean = vae.decode(vae.encode({"expression": counts}))["expression"][0] * total
    r = np.exp(vae.model.tensors["noise.expression"])
    rates = np.linspace(1e-4, 400, 200_001)[:, None]
    log_weight = (r - 1) * np.log(rates) - rates * r / mean + counts[0] * np.log(rates) - rates
    weight = np.exp(log_weight - log_weight.max(0))
    expected = (weight * rates).sum(0) / weight.sum(0)
    got = vae.denoise({"expression": counts})["expression"][0]
    np.testing.assert_allclose(got, expected / expected.sum(), rtol=1e-3, atol=1e-5)


def test_a_linear_space_does_not_denoise(data, pca):
    with pytest.raises(ValueError, match="no model of counts"):
        pca.denoise(data[0])


def test_evidence_rises_with_samples_and_is_below_the_truth(data):
    """For a space that knows nothing the evidence is that of one profile, whatever the samples."""
    counts = {"expression": data[0]["expression"]}
    space = Representation.fit(counts, (GENES,), 1, "s", **QUICK)
    few, many = (space.model.log_evidence(counts, samples=k).mean() for k in (1, 256))
    assert few < many
    control = one_profile(counts["expression"], counts["expression"])["negative binomial, one profile"]
    assert many > control


def test_pooling_takes_mean_and_sd_of_the_neighbours():
    places = np.array([[0.0, 0], [1, 0], [2, 0], [10, 0]])
    graph = neighbours_within(places, 1.5)
    np.testing.assert_array_equal(graph[0], [0, 1, 3, 4, 4])
    np.testing.assert_array_equal(graph[1], [1, 0, 2, 1])
    ur = np.array([[1.0, 0], [2, 4], [5, 0], [7, 7]])
    want = [[1, 0, 2, 4, 0, 0], [2, 4, 3, 0, 2, 0], [5, 0, 2, 4, 0, 0], [7, 7, 7, 7, 0, 0]]
    np.testing.assert_allclose(pooled(ur, graph), want)
    twice = pooled(ur, graph, hops=2)
    assert twice.shape == (4, 10) and len(pooled_names(("a", "b"), 2)) == 10
    np.testing.assert_allclose(twice[0, 6:8], want[1][2:4])


def test_spaces_build_on_each_other(data, pca):
    """Molecular to cellular to tissue: what is pooled is what was encoded."""
    tables, _, angle = data
    molecular = Representation.fit({"protein": tables["protein"]}, (PROTEINS,), 2, "m", "pca", "molecular")
    under = Modality("molecular", "real", molecular.space.labels)
    both = {"molecular": molecular.encode(tables["protein"]), "expression": tables["expression"]}
    cellular = Representation.fit(both, (under, GENES), 3, "c", "pca")
    places = 10 * np.stack([np.cos(angle), np.sin(angle)], 1)
    around = pooled(cellular.encode(both), neighbours_within(places, 1.0))
    niche = Modality("cells", "real", pooled_names(cellular.space.labels))
    tissue = Representation.fit(around, (niche,), 5, "t", "pca", "tissue")
    # cells lie beside those like them, so that the tissue's space tells where a cell lies on the circle
    ur = tissue.encode(around)
    fit = np.linalg.lstsq(np.column_stack([ur, np.ones(len(ur))]), places, rcond=None)[0]
    left = places - np.column_stack([ur, np.ones(len(ur))]) @ fit
    assert (left**2).sum() < 0.1 * (places**2).sum()


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"expression": np.ones((3, 11))}, "has 12 features, got a table of"),
        (
            {"expression": np.full((3, 12), 0.5)},
            "cell 0, g0: must be a count, a whole number from 0 .got 0.5.",
        ),
        ({"genes": np.ones((3, 12))}, "no modality 'genes'; there is expression, protein"),
        ({"expression": np.ones((3, 12)), "protein": np.ones((2, 5))}, "tables of different lengths"),
        ({"protein": np.array([[1, 2, np.nan, 4, 5.0]])}, "cell 0, p2: is not finite"),
        ({}, "is missing"),
        (np.ones((3, 12)), "give a table for each of expression, protein"),
    ],
)
def test_what_cannot_be_encoded_is_said(pca, tables, message):
    with pytest.raises(ValueError, match=message):
        pca.encode(tables)


def test_what_cannot_be_fitted_is_said(data):
    tables, _, _ = data
    with pytest.raises(ValueError, match="allow 1 to 16 components, not 17"):
        Representation.fit(tables, (GENES, PROTEINS), 17, "s", "pca")
    with pytest.raises(ValueError, match="unknown method 'umap'"):
        Representation.fit(tables, (GENES, PROTEINS), 2, "s", "umap")
    with pytest.raises(ValueError, match="the table of modality 'protein' is missing"):
        Representation.fit({"expression": tables["expression"]}, (GENES, PROTEINS), 2, "s")


def test_scale_brings_counts_to_one_depth_and_back():
    counts = np.random.default_rng(0).poisson(5.0, (50, 12)).astype(float)
    scale = Scale.of(GENES, counts)
    seen = scale.to(counts)
    np.testing.assert_allclose(seen.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(seen.std(0), 1)
    back = scale.back(seen)
    np.testing.assert_allclose(
        back / back.sum(1, keepdims=True), counts / counts.sum(1, keepdims=True), atol=1e-12
    )


def test_data_frames_are_read_by_name_whatever_their_order(data, pca):
    import pandas as pd

    tables, _, _ = data
    rng = np.random.default_rng(0)
    frames = {
        m.name: pd.DataFrame(tables[m.name], columns=list(m.features)).iloc[
            :, rng.permutation(len(m.features))
        ]
        for m in (GENES, PROTEINS)
    }
    frames["protein"]["more"] = 1.0
    np.testing.assert_array_equal(pca.encode(frames), pca.encode(tables))
    import scipy.sparse

    np.testing.assert_array_equal(
        pca.encode({"expression": scipy.sparse.csr_matrix(tables["expression"])}),
        pca.encode({"expression": tables["expression"]}),
    )
    with pytest.raises(ValueError, match="modality 'expression': no feature 'g3' in the data"):
        pca.encode({"expression": frames["expression"].drop(columns="g3")})


def test_a_cell_without_a_molecule_was_not_measured(data, pca, vae):
    counts = data[0]["expression"][:3].copy()
    counts[1] = 0
    for space in (pca, vae):
        mean, sd = space.posterior({"expression": counts})
        np.testing.assert_array_equal(mean[1], 0)
        np.testing.assert_array_equal(sd[1], 1)
        assert (sd[0] < 1).any()
