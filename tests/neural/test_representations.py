"""Encoders: principal components against the eigenvectors of the covariance, and embeddings from AnnData."""

import numpy as np
import pytest

from neural.representations import PrincipalComponents, from_obsm


@pytest.fixture
def table():
    rng = np.random.default_rng(8)
    return rng.normal(size=(200, 3)) @ rng.normal(size=(3, 12)) + 0.01 * rng.normal(size=(200, 12)) + 5.0


def test_components_are_the_covariances(table):
    pca = PrincipalComponents.fit(table, [f"g{i}" for i in range(12)], 3)
    values, vectors = np.linalg.eigh(np.cov(table.T))
    for k in range(3):
        want = (table - table.mean(0)) @ vectors[:, -1 - k]
        got = pca.encode(table)[:, k]
        assert abs(np.corrcoef(want, got)[0, 1]) == pytest.approx(1.0, abs=1e-9)
        assert pca.explained[k] == pytest.approx(values[-1 - k] / values.sum())
    np.testing.assert_allclose(pca.decode(pca.encode(table)), table, atol=0.1)
    np.testing.assert_allclose(pca.encode(table.mean(0)[None]), 0.0, atol=1e-12)
    assert pca.space.dimension == 3 and pca.space.labels == ("PC1", "PC2", "PC3")


def test_sign_is_fixed(table):
    names = [f"g{i}" for i in range(12)]
    pca = PrincipalComponents.fit(table, names, 2)
    again = PrincipalComponents.fit(table[::-1], names, 2)
    np.testing.assert_allclose(pca.encode(table), again.encode(table), atol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: (t, ["a"], 2), "1 features are named"),
        (lambda t: (np.where(t > 6, np.nan, t), list("abcdefghijkl"), 2), "not finite"),
        (lambda t: (t, list("abcdefghijkl"), 13), "at most 12 components"),
    ],
)
def test_what_cannot_be_encoded_is_said(table, change, message):
    with pytest.raises(ValueError, match=message):
        PrincipalComponents.fit(*change(table))


def test_anndata_in_and_embeddings_out(table):
    import anndata
    import scipy.sparse

    data = anndata.AnnData(scipy.sparse.csr_matrix(np.maximum(table, 0)))
    pca = PrincipalComponents.fit_anndata(data, 2)
    dense = PrincipalComponents.fit(np.maximum(table, 0), list(data.var_names), 2)
    np.testing.assert_allclose(pca.encode(np.maximum(table, 0)), dense.encode(np.maximum(table, 0)))
    data.obsm["X_scGPT"] = table[:, :4]
    space, values = from_obsm(data, "X_scGPT")
    assert (space.name, space.dimension) == ("scGPT", 4)
    np.testing.assert_array_equal(values, table[:, :4])
    np.testing.assert_allclose(space.reference_states["mean"], table[:, :4].mean(0))
    with pytest.raises(KeyError, match="there are X_scGPT"):
        from_obsm(data, "X_uce")
