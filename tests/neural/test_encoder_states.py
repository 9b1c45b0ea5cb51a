"""What a space says of cells beside their place: which state they are in, and whether they are like known ones."""

import numpy as np
import pytest
from cells_on_a_curve import GENES, PROTEINS, cells
from scipy.stats import nbinom

from neural.encoders import Modality, Representation
from neural.encoders.scores import flag_scores, held_out_scores, state_scores
from neural.encoders.states import StateDecoder

QUICK = {"epochs": 60, "hidden": 24, "rate": 5e-3}


def words_of(angle):
    return np.array(["G1", "S", "G2"])[(angle // (2 * np.pi / 3)).astype(int)]


@pytest.fixture(scope="module")
def spaces():
    tables, _, angle = cells()
    return {
        method: Representation.fit(
            tables,
            (GENES, PROTEINS),
            3,
            "s",
            method,
            states=words_of(angle),
            **(QUICK if method == "vae" else {}),
        )
        for method in ("pca", "vae")
    }


@pytest.fixture(scope="module", params=["pca", "vae"])
def space(request, spaces):
    return spaces[request.param]


def test_two_gaussians_are_parted_as_bayes_rule_parts_them():
    rng = np.random.default_rng(0)
    which = rng.random(40_000) < 0.3
    x = rng.normal(size=(40_000, 2)) @ np.diag([1.0, 100.0]) + np.where(which[:, None], [1.5, 50.0], 0.0)
    decoder = StateDecoder.fit(x, np.where(which, "b", "a"))
    assert decoder.names == ("a", "b")
    log_odds = np.log(0.3 / 0.7) + x[:50] @ [1.5, 50 / 1e4] - 0.5 * (1.5**2 + 0.5**2)
    p = decoder.probabilities(x[:50])
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-12)
    np.testing.assert_allclose(p[:, 1], 1 / (1 + np.exp(-log_odds)), atol=0.02)


def test_words_that_name_single_cells_are_no_states():
    with pytest.raises(ValueError, match="10 states of 10 cells are too many"):
        StateDecoder.fit(np.zeros((10, 2)), [f"cell {k}" for k in range(10)])


def test_states_of_new_cells_are_told_from_any_modality(space, tmp_path):
    tables, _, angle = cells(400, seed=5)
    space.save(tmp_path / "s.safetensors")
    back = Representation.load(tmp_path / "s.safetensors")
    for shown, least in ((tables, 0.9), ({"protein": tables["protein"]}, 0.8)):
        p = space.state_probabilities(space.encode(shown))
        assert (np.array(space.states.names)[p.argmax(1)] == words_of(angle)).mean() > least
        np.testing.assert_array_equal(back.state_probabilities(back.encode(shown)), p)
    without = Representation.fit(tables, (GENES, PROTEINS), 2, "s", "pca")
    with pytest.raises(ValueError, match="space 's' tells no states apart"):
        without.state_probabilities(without.encode(tables))


def test_few_known_cells_are_flagged_and_most_unknown_ones(space, tmp_path):
    tables, _, _ = cells(2000, seed=5)
    space.calibrate(cells(1000, seed=6)[0])
    flags = space.flags(tables)
    assert 0.002 < np.mean([bool(f) for f in flags]) < 0.04
    rng = np.random.default_rng(0)
    mixed = {"expression": rng.permuted(tables["expression"], axis=1)}
    assert np.mean([f.startswith("expression fits worse") for f in space.flags(mixed)]) > 0.5
    assert all("protein" in f for f in space.flags({"protein": 10 * tables["protein"]}))
    unmeasured = {"protein": np.full((2, 5), np.nan)}
    assert space.flags(unmeasured) == ["nothing was measured"] * 2
    space.save(tmp_path / "s.safetensors")
    assert Representation.load(tmp_path / "s.safetensors").flags(tables) == flags


def test_the_misfit_of_counts_does_not_hang_on_depth(spaces):
    space = spaces["vae"]
    counts = cells(1000, seed=8)[0]["expression"]
    thin = np.random.default_rng(0).binomial(counts.astype(int), 0.5).astype(float)
    whole, half = (
        space.model.misfit(space.encode({"expression": c}), GENES, c).mean() for c in (counts, thin)
    )
    assert half == pytest.approx(whole, rel=0.5)


def test_the_misfit_of_counts_is_pearsons_statistic(spaces):
    space = spaces["vae"]
    counts = cells(3, seed=8)[0]["expression"]
    ur = space.encode({"expression": counts})
    r = np.exp(space.model.tensors["noise.expression"])
    mean = counts.sum(1, keepdims=True) * space.decode(ur)["expression"]
    expected = ((counts - mean) ** 2 / nbinom.var(r, r / (r + mean))).mean(1)
    np.testing.assert_allclose(space.model.misfit(ur, GENES, counts), expected, rtol=1e-10)


def test_an_embedding_keeps_its_distances():
    """Its axes are arbitrary: turned, it is the same; and a long axis counts for more than a short one."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(300, 6)) * [5, 3, 1, 0.2, 0.2, 0.2]
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    one = Modality("fm", "embedding", tuple("abcdef"))
    spaces = [Representation.fit(values, (one,), 2, "s", "pca") for values in (x, x @ turn)]
    a, b = spaces[0].encode(x), spaces[1].encode(x @ turn)
    np.testing.assert_allclose(a @ a.T, b @ b.T, atol=1e-8)
    _, s, axes = np.linalg.svd(x - x.mean(0), full_matrices=False)
    plane = (x - x.mean(0)) @ axes[:2].T @ axes[:2] + x.mean(0)
    np.testing.assert_allclose(spaces[0].model.nearest(one, x), plane, atol=1e-8)
    scores = held_out_scores({"pca": spaces[0]}, (one,), {"fm": x}, {"fm": x}, 0)
    explained = scores["variance explained in held-out cells"]
    assert explained["pca, nearest point"]["fm"] == pytest.approx((s[:2] ** 2).sum() / (s**2).sum())
    assert 0.8 < explained["pca"]["fm"] < explained["pca, nearest point"]["fm"]
    vae = Representation.fit(x, (one,), 2, "s", **QUICK)
    back = vae.decode(vae.encode(x))["fm"]
    assert 1 - ((back - x) ** 2).sum() / ((x - x.mean(0)) ** 2).sum() > 0.8
    side_by_side = Modality("two", "embedding", tuple("abcdef"), blocks=2)
    of_blocks = Representation.fit(x, (side_by_side,), 2, "s", "pca").model.scales["two"].spread
    np.testing.assert_allclose(of_blocks[:3], np.sqrt(x[:, :3].var(0).mean()))
    np.testing.assert_allclose(of_blocks[3:], np.sqrt(x[:, 3:].var(0).mean()))


def test_scores_of_states_and_flags_stand_beside_controls(space):
    train, _, angle = cells()
    test, _, later = cells(400, seed=9)
    words = words_of(angle), np.where(np.arange(400) < 5, "unheard of", words_of(later))
    scores = state_scores({"space": space}, (GENES, PROTEINS), train, test, words)
    right = scores["state of held-out cells [share right]"]
    assert right["space"]["all"] > right["commonest state"]["all"] + 0.4
    assert right["all measurements, no space"]["all"] > 0.8
    assert set(right["space"]) == {"all", "expression", "protein"}
    sure = scores["state of held-out cells [nat per cell]"]
    assert sure["commonest state"]["all"] == pytest.approx(np.log(1 / 3), abs=0.02)
    assert sure["space"]["all"] > sure["commonest state"]["all"]
    flagged = flag_scores(space, test, 0)["cells flagged as unusual [share]"]
    assert flagged["held-out cells"]["protein"] < 0.05
    assert flagged["the same, features shuffled"]["expression"] > 0.6
