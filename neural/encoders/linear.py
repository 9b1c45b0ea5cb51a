"""Probabilistic principal components over several modalities (Tipping and Bishop 1999, doi:10.1111/1467-9868.00196).

x = W z + noise of variance s², z standard normal. The posterior of z is known for any subset of the features,
so a missing modality is no matter. The control that every other encoder is held to.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from neural.encoders.modalities import Modality, Scale, measured

#: shares of the mean profile that are tried as a floor under decoded profiles
_FLOORS = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
_LEAST_NOISE = 1e-9


class LinearModel:
    """Loadings, noise and scales; the tensors are all that it is."""

    def __init__(self, modalities: tuple[Modality, ...], tensors: Mapping[str, np.ndarray]):
        self.modalities = modalities
        self.tensors = dict(tensors)
        self.scales = scales_of(modalities, tensors)
        self._noise = float(tensors["noise"][0])

    @classmethod
    def fit(
        cls, modalities: tuple[Modality, ...], tables: Mapping[str, np.ndarray], dimension: int
    ) -> LinearModel:
        """The maximum-likelihood components of cells in which everything was measured.

        Raises:
            ValueError: more components than features less one, or than whole cells less one.
        """
        scales = {m.name: Scale.of(m, tables[m.name]) for m in modalities}
        whole = np.all([measured(tables[m.name]) for m in modalities], axis=0)
        x = np.concatenate([scales[m.name].to(tables[m.name][whole]) for m in modalities], 1)
        most = min(x.shape[1] - 1, len(x) - 1)
        if not 1 <= dimension <= most:
            raise ValueError(
                f"{len(x)} cells x {x.shape[1]} features allow 1 to {most} components, not {dimension}"
            )
        _, s, axes = np.linalg.svd(x - x.mean(0), full_matrices=False)
        variance = s**2 / len(x)
        noise = max(float(variance[dimension:].sum() / (x.shape[1] - dimension)), _LEAST_NOISE)
        axes = axes[:dimension]
        axes = axes * np.sign(axes[np.arange(dimension), np.abs(axes).argmax(1)])[:, None]
        loadings = axes.T * np.sqrt(np.maximum(variance[:dimension] - noise, 0.0))
        tensors = {"noise": np.array([noise]), **tensors_of(scales)}
        start = 0
        for m in modalities:
            # laid out as it will be when it is read back: sums must run in the same order
            tensors[f"{m.name}.loadings"] = np.ascontiguousarray(loadings[start : start + len(m.features)])
            start += len(m.features)
            if m.kind == "counts":
                known = tables[m.name][measured(tables[m.name])]
                tensors[f"{m.name}.profile"] = known.sum(0) / known.sum()
                tensors[f"{m.name}.floor"] = np.array([_FLOORS[3]])
        model = cls(modalities, tensors)
        for m in modalities:
            if m.kind == "counts":
                model.tensors[f"{m.name}.floor"] = np.array([model._best_floor(m, tables)])
        return model

    def posterior(self, tables: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Mean and sd (cell, d) of the representation, given the tables there are."""
        n = len(next(iter(tables.values())))
        d = self.tensors[f"{self.modalities[0].name}.loadings"].shape[1]
        known = {name: measured(t) for name, t in tables.items()}
        mean, sd = np.zeros((n, d)), np.ones((n, d))
        pattern = np.stack(
            [known[m.name] if m.name in tables else np.zeros(n, bool) for m in self.modalities]
        )
        for which in np.unique(pattern, axis=1).T:
            rows = np.flatnonzero((pattern == which[:, None]).all(0))
            there = [m.name for m, seen in zip(self.modalities, which, strict=True) if seen]
            if not there:
                continue
            w = np.concatenate([self.tensors[f"{name}.loadings"] for name in there])
            # of all cells, not of these alone: the bits of a cell must not depend on how many are like it
            x = np.concatenate([self.scales[name].to(tables[name]) for name in there], 1)
            inverse = np.linalg.inv(_product(w.T, w) + self._noise * np.eye(d))
            mean[rows] = _product(_product(x, w), inverse)[rows]
            sd[rows] = np.sqrt(self._noise * np.diag(inverse))
        return mean, sd

    def decode(self, ur: np.ndarray) -> dict[str, np.ndarray]:
        """Modality -> values (cell, feature); of counts the share of each feature."""
        out = {}
        for m in self.modalities:
            levels = self.scales[m.name].back(_product(ur, self.tensors[f"{m.name}.loadings"].T))
            if m.kind == "counts":
                floor = float(self.tensors[f"{m.name}.floor"][0])
                levels = _floored(levels, self.tensors[f"{m.name}.profile"], floor)
            out[m.name] = levels
        return out

    def misfit(self, ur: np.ndarray, m: Modality, table: np.ndarray) -> np.ndarray:
        """(cell,) mean over the features of squared distance from what the components say, by the noise's variance."""
        said = _product(ur, self.tensors[f"{m.name}.loadings"].T)
        return ((self.scales[m.name].to(table) - said) ** 2).mean(1) / self._noise

    def nearest(self, m: Modality, table: np.ndarray) -> np.ndarray:
        """What the components can say that lies nearest to real values (cell, feature): principal components as usual.

        `decode` of `posterior` lies nearer to the mean cell, as part of what was seen is noise.
        """
        w = self.tensors[f"{m.name}.loadings"]
        scale = self.scales[m.name]
        return scale.back(_product(scale.to(table), w @ np.linalg.pinv(w)))

    def _best_floor(self, m: Modality, tables: Mapping[str, np.ndarray]) -> float:
        """The floor under which halves of the training cells foretell their other halves best."""
        from neural.encoders.thinning import halves, per_molecule

        known = tables[m.name][measured(tables[m.name])]
        seen, unseen = halves(known, 0)
        mean, _ = self.posterior({m.name: seen})
        levels = self.scales[m.name].back(mean @ self.tensors[f"{m.name}.loadings"].T)
        profile = self.tensors[f"{m.name}.profile"]
        return max(_FLOORS, key=lambda f: per_molecule(unseen, _floored(levels, profile, f)))


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b summed in one order, whatever the number of threads that the linear algebra library may use."""
    return np.einsum("ij,jk->ik", a, b)


def _floored(levels: np.ndarray, profile: np.ndarray, floor: float) -> np.ndarray:
    """Levels as shares, mixed with the mean profile so that none is 0 where anything was ever seen."""
    total = levels.sum(1, keepdims=True)
    shares = np.where(total > 0, levels / np.maximum(total, 1e-300), profile)
    return (1 - floor) * shares + floor * profile


def scales_of(modalities: tuple[Modality, ...], tensors: Mapping[str, np.ndarray]) -> dict[str, Scale]:
    return {
        m.name: Scale(
            float(tensors[f"{m.name}.depth"][0]), tensors[f"{m.name}.centre"], tensors[f"{m.name}.spread"]
        )
        for m in modalities
    }


def tensors_of(scales: Mapping[str, Scale]) -> dict[str, np.ndarray]:
    out = {}
    for name, s in scales.items():
        out |= {
            f"{name}.depth": np.array([s.depth]),
            f"{name}.centre": s.centre,
            f"{name}.spread": s.spread,
        }
    return out
