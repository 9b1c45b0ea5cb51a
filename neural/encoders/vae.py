"""A variational autoencoder of several modalities that share one representation.

Counts are negative binomial around total x share (Lopez et al. 2018, doi:10.1038/s41592-018-0229-2; the total is
the cell's own), real values Gaussian around the decoded. Each modality has an encoder of its own whose Gaussian
opinions are multiplied with the standard-normal prior (product of experts; Wu and Goodman 2018, arXiv:1802.05335):
any subset of the modalities gives a representation, surer the more there are. In training, the evidence bound of
all modalities goes with that of each alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from neural.checkpoints import Checkpoint, draw_on, drawn
from neural.encoders.linear import scales_of, tensors_of
from neural.encoders.modalities import Modality, Scale, measured
from neural.progress import Progress

_CLIP = 10.0  # of standardised inputs: one odd value must not decide where a cell lies
_LOG_PRECISION = 8.0  # an expert may be as sure as exp(8) of a prior's 1
_PATIENCE = 30
_INNER = 0.1  # share of the training cells that decide when to stop
_BATCH = 256
_EVERY = 10  # epochs between checkpoints
_SIMULATED = 2000  # cells by which the encoders' sd is judged
_NINETY = 1.6448536269514722  # sd of a Gaussian on either side that hold 90 %


class Networks(nn.Module):
    """Encoders, decoders and noise of all modalities. Float64, so that results keep their bits' worth."""

    def __init__(self, modalities: tuple[Modality, ...], dimension: int, hidden: int, layers: int):
        super().__init__()
        self.encoders = nn.ModuleDict(
            {m.name: _mlp(len(m.features), 2 * dimension, hidden, layers) for m in modalities}
        )
        self.decoders = nn.ModuleDict(
            {m.name: _mlp(dimension, len(m.features), hidden, layers) for m in modalities}
        )
        self.noise = nn.ParameterDict(
            {m.name: nn.Parameter(torch.zeros(len(m.features), dtype=torch.float64)) for m in modalities}
        )
        self.dimension = dimension

    def posterior(
        self, inputs: Mapping[str, torch.Tensor], known: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and sd (cell, d) given scaled inputs (cell, feature) of the cells `known` (cell,) to be measured."""
        n = len(next(iter(inputs.values())))
        precision = torch.ones(n, self.dimension, dtype=torch.float64)
        weighted = torch.zeros_like(precision)
        for name, x in inputs.items():
            opinion, log_precision = self.encoders[name](x.clamp(-_CLIP, _CLIP)).chunk(2, -1)
            sure = torch.exp(_LOG_PRECISION * torch.tanh(log_precision / _LOG_PRECISION))
            sure = sure * known[name][:, None]
            precision = precision + sure
            weighted = weighted + sure * opinion
        return weighted / precision, precision.rsqrt()

    def log_likelihood(self, m: Modality, z: torch.Tensor, data: torch.Tensor) -> torch.Tensor:
        """(…, cell) of counts, or of scaled real values, (cell, feature) given z (…, cell, d)."""
        out, noise = self.decoders[m.name](z), self.noise[m.name]
        if (
            m.kind == "embedding"
        ):  # its distances would be lost if each coordinate were judged on its own scale
            noise = noise.mean().expand_as(noise)
        if m.kind == "counts":
            log_mean = torch.log_softmax(out, -1) + torch.log(data.sum(-1, keepdim=True).clamp(min=1.0))
            return negative_binomial(data, log_mean, noise).sum(-1)
        return (-0.5 * ((data - out) * torch.exp(-noise)) ** 2 - noise - 0.5 * math.log(2 * math.pi)).sum(-1)


def negative_binomial(x: torch.Tensor, log_mean: torch.Tensor, log_inverse: torch.Tensor) -> torch.Tensor:
    """Log probability of counts with mean m and variance m + m²/r, r = exp(log_inverse)."""
    r = torch.exp(log_inverse)
    # log(r + m) without overflow
    log_sum = torch.logaddexp(log_inverse.expand_as(log_mean), log_mean)
    return (
        torch.lgamma(x + r)
        - torch.lgamma(r)
        - torch.lgamma(x + 1)
        + r * (log_inverse - log_sum)
        + x * (log_mean - log_sum)
    )


class VariationalModel:
    """Networks and scales, with NumPy in and out."""

    def __init__(
        self,
        modalities: tuple[Modality, ...],
        tensors: Mapping[str, np.ndarray],
        dimension: int,
        hidden: int,
        layers: int,
    ):
        self.modalities, self.tensors = modalities, dict(tensors)
        self.scales = scales_of(modalities, tensors)
        self.networks = Networks(modalities, dimension, hidden, layers)
        own = {k: torch.as_tensor(np.array(tensors[k])) for k in self.networks.state_dict()}
        self.networks.load_state_dict(own)
        self.networks.requires_grad_(False)

    @classmethod
    def fit(
        cls,
        modalities: tuple[Modality, ...],
        tables: Mapping[str, np.ndarray],
        dimension: int,
        hidden: int = 64,
        layers: int = 1,
        epochs: int = 400,
        rate: float = 2e-3,
        seed: int = 0,
        progress: Progress | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> VariationalModel:
        """Fit to cells; a tenth of them, chosen by the seed, decides when to stop.

        The same bits each time, also when it goes on from `checkpoint`, kept every few epochs.
        """
        scales = {m.name: Scale.of(m, tables[m.name]) for m in modalities}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            networks = Networks(modalities, dimension, hidden, layers)
        for m in modalities:
            if m.kind == "counts":  # begin at the mean profile
                known = tables[m.name][measured(tables[m.name])]
                share = (known.sum(0) + 0.5) / (known.sum() + 0.5 * known.shape[1])
                last = networks.decoders[m.name][-1]  # type: ignore[index]
                last.bias.data = torch.log(torch.as_tensor(share))
        data = _Data(modalities, scales, tables)
        rng = np.random.default_rng(seed)
        order = rng.permutation(data.rows)
        inner = max(1, round(_INNER * data.rows))
        check, train = order[:inner], order[inner:]
        noise = torch.Generator().manual_seed(seed)
        optimiser = torch.optim.Adam(networks.parameters(), lr=rate)
        best, kept, since, begin = math.inf, _copied(networks), 0, 0
        if checkpoint is not None and (state := checkpoint.read()) is not None:
            networks.load_state_dict(state["networks"])
            optimiser.load_state_dict(state["optimiser"])
            draw_on(rng, state["rng"])
            noise.set_state(state["noise"])
            kept = {k: v.numpy() for k, v in state["kept"].items()}
            best, since, begin = state["best"], state["since"], state["epoch"]
        for epoch in range(begin, epochs):
            warm = min(1.0, (epoch + 1) / max(epochs // 10, 1))
            shuffled = rng.permutation(train)
            for start in range(0, len(shuffled), _BATCH):
                optimiser.zero_grad()
                loss = -_bounds(
                    networks, modalities, data.part(shuffled[start : start + _BATCH]), noise, warm
                )
                loss.backward()
                nn.utils.clip_grad_norm_(networks.parameters(), 100.0)
                optimiser.step()
            with torch.no_grad():
                ahead = torch.Generator().manual_seed(seed + 1)
                loss_now = -float(_bounds(networks, modalities, data.part(check), ahead, 1.0))
            if not math.isfinite(loss_now):
                raise ValueError("the fit ran away; lower fit.rate")
            since += 1
            if loss_now < best - 1e-6 * abs(best if math.isfinite(best) else 1.0):
                best, kept, since = loss_now, _copied(networks), 0
            if progress is not None:
                progress(epoch + 1, epochs, f"inner evidence bound {-loss_now:.3f} a cell, best {-best:.3f}")
            if since >= _PATIENCE and warm == 1.0:
                break
            if checkpoint is not None and (epoch + 1) % _EVERY == 0:
                checkpoint.write(
                    {
                        "networks": networks.state_dict(),
                        "optimiser": optimiser.state_dict(),
                        "rng": drawn(rng),
                        "noise": noise.get_state(),
                        "kept": {k: torch.from_numpy(v) for k, v in kept.items()},
                        "best": best,
                        "since": since,
                        "epoch": epoch + 1,
                    }
                )
        fitted = cls(modalities, {**kept, **tensors_of(scales)}, dimension, hidden, layers)
        fitted._widen(tables, seed)
        return fitted

    def posterior(self, tables: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Mean and sd (cell, d) of the representation, given the tables there are.

        Where all modalities were measured, or one alone, 90 % of what the decoders would measure lie within 1.645 sd.
        """
        mean, sd = self._opinion(tables)
        known = np.stack([measured(t) for t in tables.values()])
        for shown, factor in self._factors():
            these = known.sum(0) == len(shown)
            for name in shown:
                these &= known[list(tables).index(name)] if name in tables else False
            sd[these] = np.minimum(sd[these] * factor, 1.0)  # the prior's: nobody knows less
        return mean, sd

    def _opinion(self, tables: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        inputs = {n: torch.as_tensor(self.scales[n].to(t)) for n, t in tables.items()}
        known = {n: torch.as_tensor(measured(t)).double() for n, t in tables.items()}
        with torch.no_grad():
            mean, sd = self.networks.posterior(inputs, known)
        return mean.numpy(), sd.numpy()

    def _factors(self) -> list[tuple[list[str], np.ndarray]]:
        """By how much the encoders' sd (d,) is too small, given these modalities alone."""
        names = [m.name for m in self.modalities]
        alone = [([n], self.tensors[f"widths.{n}"]) for n in names]
        return alone if len(names) == 1 else [(names, self.tensors["widths"]), *alone]

    def _widen(self, tables: Mapping[str, np.ndarray], seed: int) -> None:
        """Find the factors by representations drawn around cells, measurements drawn from these, and encoded again.

        Encoders' Gaussians tend to be too narrow. Source: calibration by simulation, Talts et al. 2018,
        arXiv:1804.06788.
        """
        rng = np.random.default_rng(seed)
        rows = rng.permutation(len(next(iter(tables.values()))))[:_SIMULATED]
        subsets = {"widths": [m.name for m in self.modalities]} if len(self.modalities) > 1 else {}
        for key, shown in {**subsets, **{f"widths.{m.name}": [m.name] for m in self.modalities}}.items():
            known = {n: tables[n][rows] for n in shown}
            whole = np.all([measured(t) for t in known.values()], axis=0)
            self.tensors[key] = np.ones(self.networks.dimension)
            if whole.any():
                mean, sd = self._opinion({n: t[whole] for n, t in known.items()})
                z = mean + sd * rng.normal(size=mean.shape)
                again, narrow = self._opinion(
                    self._measured_again(z, {n: t[whole] for n, t in known.items()}, rng)
                )
                self.tensors[key] = np.quantile(np.abs(z - again) / narrow, 0.9, axis=0) / _NINETY

    def _measured_again(
        self, ur: np.ndarray, tables: Mapping[str, np.ndarray], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Measurements such as the decoders foretell, of counts with the totals of these cells."""
        out = {}
        for m in self.modalities:
            if m.name in tables:
                said, noise = self.decode(ur)[m.name], self.tensors[f"noise.{m.name}"]
                if m.kind == "counts":
                    mean, r = said * tables[m.name].sum(1, keepdims=True), np.exp(noise)
                    out[m.name] = rng.poisson(rng.gamma(r, mean / r)).astype(float)
                else:
                    noise = noise.mean() if m.kind == "embedding" else noise
                    out[m.name] = said + np.exp(noise) * self.scales[m.name].spread * rng.normal(
                        size=said.shape
                    )
        return out

    def decode(self, ur: np.ndarray) -> dict[str, np.ndarray]:
        """Modality -> values (cell, feature); of counts the share of each feature."""
        z = torch.as_tensor(np.asarray(ur, float))
        out = {}
        with torch.no_grad():
            for m in self.modalities:
                decoded = self.networks.decoders[m.name](z)
                if m.kind == "counts":
                    out[m.name] = torch.softmax(decoded, -1).numpy()
                else:
                    out[m.name] = self.scales[m.name].back(decoded.numpy())
        return out

    def misfit(self, ur: np.ndarray, m: Modality, table: np.ndarray) -> np.ndarray:
        """(cell,) mean over the features of squared distance from what is decoded, by what is decoded as its variance.

        Of counts Pearson's statistic, which does not hang on a cell's depth.
        """
        noise = self.tensors[f"noise.{m.name}"]
        if m.kind == "counts":
            mean = self.decode(ur)[m.name] * table.sum(1, keepdims=True)
            return ((table - mean) ** 2 / (mean + mean**2 * np.exp(-noise))).mean(1)
        with torch.no_grad():
            seen = self.networks.decoders[m.name](torch.as_tensor(np.asarray(ur, float))).numpy()
        noise = noise.mean() if m.kind == "embedding" else noise
        return (((self.scales[m.name].to(table) - seen) * np.exp(-noise)) ** 2).mean(1)

    def denoised(self, tables: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Modality of counts -> the share of each feature (cell, feature) given the representation and the counts.

        A negative binomial is a Poisson number whose rate is Gamma distributed around the decoded mean m with the shape
        r; seeing x its mean becomes m (r + x) / (r + m). What is peculiar to a cell is kept as far as it is sure.
        """
        decoded = self.decode(self.posterior(tables)[0])
        out = {}
        for m in self.modalities:
            if m.kind == "counts" and m.name in tables:
                x, r = np.nan_to_num(tables[m.name]), np.exp(self.tensors[f"noise.{m.name}"])
                mean = decoded[m.name] * x.sum(1, keepdims=True)
                rate = decoded[m.name] * (r + x) / (r + mean)
                out[m.name] = rate / rate.sum(1, keepdims=True)
        return out

    def log_evidence(self, tables: Mapping[str, np.ndarray], samples: int = 64, seed: int = 0) -> np.ndarray:
        """Log probability (cell,) of the cells' measurements, real ones on their scale, counts given their total.

        By importance sampling from the posterior (Burda et al. 2016, arXiv:1509.00519): a bound from below that
        rises to the truth with the samples.
        """
        data = _Data(self.modalities, self.scales, tables)
        inputs, known, values = data.part(np.arange(data.rows))
        noise = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            mean, sd = self.networks.posterior(inputs, known)
            total = torch.full((data.rows,), -math.inf, dtype=torch.float64)
            for _ in range(samples):  # one at a time, so that many cells and features fit into memory
                e = torch.randn(mean.shape, dtype=torch.float64, generator=noise)
                z = mean + sd * e
                weight = (0.5 * e**2 + torch.log(sd) - 0.5 * z**2).sum(-1)
                for m in self.modalities:
                    weight = weight + known[m.name] * self.networks.log_likelihood(m, z, values[m.name])
                total = torch.logaddexp(total, weight)
            return (total - math.log(samples)).numpy()


class _Data:
    """Everything that the bound needs, as tensors."""

    def __init__(
        self, modalities: tuple[Modality, ...], scales: Mapping[str, Scale], tables: Mapping[str, np.ndarray]
    ):
        self.rows = len(next(iter(tables.values())))
        self.inputs = {m.name: torch.as_tensor(scales[m.name].to(tables[m.name])) for m in modalities}
        self.known = {m.name: torch.as_tensor(measured(tables[m.name])).double() for m in modalities}
        self.values = {
            m.name: torch.as_tensor(np.nan_to_num(tables[m.name]))
            if m.kind == "counts"
            else self.inputs[m.name]
            for m in modalities
        }

    def part(self, rows: np.ndarray) -> tuple[dict[str, torch.Tensor], ...]:
        at = torch.as_tensor(rows)
        return tuple({n: t[at] for n, t in of.items()} for of in (self.inputs, self.known, self.values))


def _bounds(
    networks: Networks,
    modalities: tuple[Modality, ...],
    part: tuple[dict[str, torch.Tensor], ...],
    noise: torch.Generator,
    weight: float,
) -> torch.Tensor:
    """Mean evidence bound a cell, of all modalities together and of each alone."""
    inputs, known, values = part
    subsets = [[m.name for m in modalities]]
    if len(modalities) > 1:
        subsets += [[m.name] for m in modalities]
    total = torch.zeros((), dtype=torch.float64)
    for subset in subsets:
        mean, sd = networks.posterior({n: inputs[n] for n in subset}, known)
        z = mean + sd * torch.randn(mean.shape, dtype=torch.float64, generator=noise)
        divergence = 0.5 * (mean**2 + sd**2 - 1).sum(-1) - torch.log(sd).sum(-1)
        bound = -weight * divergence
        for m in modalities:
            bound = bound + known[m.name] * networks.log_likelihood(m, z, values[m.name])
        total = total + bound.mean()
    return total / len(subsets)


def _mlp(wide_in: int, wide_out: int, hidden: int, layers: int) -> nn.Sequential:
    parts: list[nn.Module] = []
    for _ in range(layers):
        parts += [nn.Linear(wide_in, hidden, dtype=torch.float64), nn.SiLU()]
        wide_in = hidden
    return nn.Sequential(*parts, nn.Linear(wide_in, wide_out, dtype=torch.float64))


def _copied(networks: Networks) -> dict[str, Any]:
    return {k: v.detach().numpy().copy() for k, v in networks.state_dict().items()}
