"""Networks in pathways: forward course and gradient beside torchdiffeq and RoadRunner; hidden terms found again.

    python benchmarks/hybrid.py [--json] [--quick]

Beside torchdiffeq (dopri5, not stiff): the same hybrid Lotka-Volterra in torch, at the loosest of its tolerances
whose error is no larger than ours; gradient by backpropagation through its steps. Beside RoadRunner (CVODE, stiff):
the joined model as SBML, gradient by one-sided differences. Errors: largest deviation over the largest value, from a
course or gradient at much tighter tolerances. CPU times of this process, the least of several in turn. The recovery
tables are those of `hybrid_recovery`; models come from ../shared/data and are skipped, with a line on stderr, where
that is missing.
"""

from __future__ import annotations

import os
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent))

import hybrid_recovery as recovery
import numpy as np
import torch
from table import parser, show

from mechanistic import load_model
from mechanistic.threads import set_threads
from sim.hybrid import Hybrid, Joint, Rate

_ROOT = Path(__file__).resolve().parents[1]
_SHARED = _ROOT.parent / "shared" / "data"
_SHIPPED = _ROOT / "scenarios" / "models" / "egfr_mapk.xml"
Row = dict[str, object]


def cpu(what: Callable[[], object], repeats: int) -> float:
    """The least CPU seconds of several calls, after one that compiles."""
    what()
    taken = []
    for _ in range(repeats):
        begin = time.process_time()
        what()
        taken.append(time.process_time() - begin)
    return min(taken)


class _Torch(torch.nn.Module):
    """The hybrid Lotka-Volterra in torch, as one writes it for torchdiffeq."""

    def __init__(self, hybrid: Hybrid):
        super().__init__()
        from neural.sciml import SciMLNetwork

        self.network = SciMLNetwork(hybrid.joints["u"].description())
        self.network.set_weights(hybrid.weights["u"])

    def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        known = torch.stack([1.3 * y[:, 0], -1.8 * y[:, 1]], 1)
        return known + 0.2 * self.network(y / 2.0)


def beside_torchdiffeq(cells: int, repeats: int) -> Iterator[Row]:
    """Forward and gradient of many cells of a hybrid that is not stiff."""
    from torchdiffeq import odeint

    joint = Joint(
        "u", ("x", "y"), (Rate({"x": 1}), Rate({"y": 1})), widths=(16, 16), input_scales=(2.0, 2.0),
        output_scales=(0.2, 0.2),
    )  # fmt: skip
    hybrid = Hybrid(recovery.LV_KNOWN.format(""), [joint])
    start = np.random.default_rng(0).uniform(0.5, 3.0, (cells, 2))
    initial = {"x": start[:, 0], "y": start[:, 1]}
    times = recovery.LV_TIMES
    field, first = _Torch(hybrid), torch.from_numpy(start)
    at = torch.from_numpy(times)

    def theirs(rtol: float) -> torch.Tensor:
        return odeint(field, first, at, rtol=rtol, atol=1e-3 * rtol, method="dopri5")  # pyright: ignore

    def their_gradient(rtol: float) -> np.ndarray:
        field.zero_grad()
        theirs(rtol).square().sum().backward()
        by = {n.removeprefix("network.layers."): p.grad for n, p in field.named_parameters()}
        return torch.cat(
            [by[f"{k}.{a}"].reshape(-1) for k in hybrid.weights["u"] for a in hybrid.weights["u"][k]]
        ).numpy()

    layer = hybrid.layer(times, outputs=("x", "y"), initial=initial, rtol=1e-6, atol=1e-9)

    def our_gradient() -> np.ndarray:
        layer.zero_grad()
        layer(cells=cells).square().sum().backward()
        group = dict(layer.weights["u"].named_parameters())
        return torch.cat([group[k].grad.reshape(-1) for k in layer._order["u"]]).numpy()

    with torch.no_grad():
        reference = theirs(1e-10).numpy().swapaxes(0, 1)
        ours = layer(cells=cells).numpy()
        error = _error(ours, reference)
        ladder = [10.0 ** -(k / 2) for k in range(6, 19)]
        rtol = next((r for r in ladder if _error(theirs(r).numpy().swapaxes(0, 1), reference) <= error), 1e-9)
        their_error = _error(theirs(rtol).numpy().swapaxes(0, 1), reference)
    exact = their_gradient(1e-10)
    peer = f"torchdiffeq dopri5 rtol {rtol:.0e}"

    def forward() -> object:
        return hybrid.simulate(times, cells=cells, initial=initial)

    table = hybrid.simulate(times, cells=cells, initial=initial)
    own_error = _error(np.stack([table[s].values for s in "xy"], -1), reference)
    with torch.no_grad():
        name, taken = f"lotka-volterra {cells} cells forward", cpu(lambda: theirs(rtol), repeats)
        yield _row(name, cpu(forward, repeats), peer, taken, own_error, their_error)
    yield _row(
        f"lotka-volterra {cells} cells forward and gradient", cpu(our_gradient, repeats), peer,
        cpu(lambda: their_gradient(rtol), repeats), _error(our_gradient(), exact), _error(their_gradient(rtol), exact),
    )  # fmt: skip


def beside_roadrunner(
    model_file: Path, name: str, joint: Joint, times: np.ndarray, repeats: int
) -> Iterator[Row]:
    """The gradient of a sum of squares by all weights, one cell of a stiff pathway."""
    import roadrunner

    hybrid = Hybrid(load_model(model_file), [joint])
    ids = hybrid.weight_ids(joint.name)
    output = [s for s in hybrid.pathway.state_ids if s in hybrid.pathway.species_ids][-1]
    roadrunner.Logger.setLevel(roadrunner.Logger.LOG_FATAL)
    runner = roadrunner.RoadRunner(hybrid.model.to_sbml())
    runner.timeCourseSelections = [f"[{output}]"]
    integrator = runner.getIntegrator()
    integrator.setValue("relative_tolerance", 1e-8)
    integrator.setValue("absolute_tolerance", 1e-14)
    values = {i: float(runner[i]) for i in ids}

    def loss(changed: str | None = None, by: float = 0.0) -> float:
        runner.resetAll()
        for i in ids:
            runner[i] = values[i] + (by if i == changed else 0.0)
        return float((np.asarray(runner.simulate(times[0], times[-1], len(times))) ** 2).sum())

    def differences() -> np.ndarray:
        base = loss()
        return np.array([(loss(i, 1e-5) - base) / 1e-5 for i in ids])

    def ours(rtol: float = 1e-8) -> np.ndarray:
        run = hybrid.model.adjoint(times, ids, outputs=(output,), rtol=rtol)
        return run.gradient(2.0 * run.outputs)[0]

    exact = ours(1e-11)
    yield _row(
        f"{name} gradient by {len(ids)} weights", cpu(ours, repeats), "RoadRunner with differences",
        cpu(differences, 1), _error(ours(), exact), _error(differences(), exact),
    )  # fmt: skip
    yield adjoint_over_forward(name, hybrid, joint.name, times, output, repeats)


def adjoint_over_forward(
    name: str, hybrid: Hybrid, network: str, times: np.ndarray, output: str, repeats: int
) -> Row:
    """Course and gradient by all weights over the course alone, at the same tolerance."""
    ids = hybrid.weight_ids(network)

    def both() -> object:
        run = hybrid.model.adjoint(times, ids, cells=64, outputs=(output,), rtol=1e-8)
        return run.gradient(2.0 * run.outputs)

    forward = cpu(lambda: hybrid.model.simulate(times, cells=64, rtol=1e-8, atol=1e-16), repeats)
    return {
        "name": f"{name} 64 cells, adjoint over forward",
        "value": cpu(both, repeats) / forward,
        "unit": "1",
    }


def recoveries(quick: bool) -> Iterator[Row]:
    """The tables of terms that were found again."""
    for noise in (0.01,) if quick else (0.005, 0.01, 0.02, 0.05):
        found = [recovery.lotka_volterra(noise, seed) for seed in range(2 if quick else 10)]
        name = f"lotka-volterra noise {100 * noise:g} %"
        yield {
            "name": f"{name}, exact structure",
            "value": float(np.mean([f[0] for f in found])),
            "unit": "share of seeds",
        }
        yield {"name": f"{name}, slowest", "value": max(f[2] for f in found), "unit": "CPU s"}
        yield {"name": f"{name}, collinearity", "value": max(f[1].collinearity for f in found), "unit": "1"}
    _, structure, _ = recovery.lotka_volterra(0.01, 0, courses=1)
    yield {"name": "lotka-volterra on one course, collinearity", "value": structure.collinearity, "unit": "1"}
    archive = _SHARED / "hybrid" / "ude-systems-biology.tar.gz"
    if quick or not archive.is_file():
        if not archive.is_file():
            print(f"no {archive}: glycolysis and STAT5 are skipped", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(archive) as files:
            files.extractall(folder, filter="data")
        models = Path(folder) / "1_mechanistic_model"
        found = [recovery.ruoff(models, seed) for seed in range(5)]
        for seed, one in enumerate(found):
            yield {
                "name": f"glycolysis seed {seed}, test error", "value": one.error, "unit": "NMAE (published 0.213)",
                "peer": "true rate law, fitted", "peer_value": one.mechanism, "ratio": one.mechanism / one.error,
            }  # fmt: skip
            share = one.shares.get("A_3", 0.0) / max(sum(one.shares.values()), 1e-12)
            yield {"name": f"glycolysis seed {seed}, share of A_3", "value": share, "unit": "of all inputs"}
        yield {"name": "glycolysis, slowest", "value": max(one.seconds for one in found), "unit": "CPU s"}
        problem = models / "Boehm_JProteomeRes2014" / "Boehm_JProteomeRes2014.yaml"
        for variant in "abcd":
            llh, mechanistic, drift = recovery.boehm(problem, variant)
            yield {
                "name": f"STAT5 variant {variant}, negative log-likelihood", "value": -llh, "unit": "1",
                "peer": "mechanistic model", "peer_value": -mechanistic, "ratio": mechanistic / llh,
            }  # fmt: skip
            yield {
                "name": f"STAT5 variant {variant}, change of mass",
                "value": max(drift, 1e-18),
                "unit": "1",
            }


def _row(name: str, ours: float, peer: str, theirs: float, error: float, peer_error: float) -> Row:
    return {
        "name": name, "value": ours, "unit": "CPU s", "peer": peer, "peer_value": theirs, "ratio": theirs / ours,
        "error": error, "peer_error": peer_error,
    }  # fmt: skip


def _error(found: np.ndarray, reference: np.ndarray) -> float:
    return float(np.abs(found - reference).max() / np.abs(reference).max())


def rows(quick: bool) -> Iterator[Row]:
    repeats = 2 if quick else 5
    yield from beside_torchdiffeq(64 if quick else 256, repeats)
    model = load_model(_SHIPPED).network
    species = [s for s in model.state_ids if s in model.species_ids]
    joint = Joint("extra", (species[0], species[1]), Rate({species[0]: -1}, times=(species[0],)), positive=True,
                  widths=(5, 5), output_scales=(0.01,))  # fmt: skip
    yield from beside_roadrunner(_SHIPPED, "egfr_mapk", joint, np.linspace(0.0, 60.0, 13), repeats)
    archive = _SHARED / "sbml" / "biomodels.tar.gz"
    if archive.is_file():
        with tempfile.TemporaryDirectory() as folder:
            with tarfile.open(archive) as files:
                files.extractall(folder, filter="data")
            joint = Joint("extra", ("PP_K", "KK"), Rate({"KKK": -1, "P_KKK": 1}, times=("KKK",)), positive=True,
                          widths=(5, 5), output_scales=(1e-2,))  # fmt: skip
            file = Path(folder) / "biomodels" / "BIOMD0000000009.xml"
            times = np.linspace(0.0, 100.0, 11)
            yield from beside_roadrunner(file, "BioModels 9", joint, times, repeats)
            text = load_model(file).to_antimony()
            at = text.rindex("end", 0, text.rindex("\nend") + 4)
            events = "boost: at PP_K > 0.3: E1 = E1 + 1e-5; again: at PP_KK > 0.4: E1 = 0.9*E1;"
            hybrid = Hybrid(f"{text[:at]}  {events}\nend", [joint])
            yield adjoint_over_forward("BioModels 9, two events,", hybrid, "extra", times, "PP_K", repeats)
    else:
        print(f"no {archive}: BioModels 9 is skipped", file=sys.stderr)
    yield from recoveries(quick)


def main() -> None:
    given = parser(__doc__, "small sizes, one minute").parse_args()
    torch.set_num_threads(1)
    set_threads(1)
    show(rows(given.quick), given.json, 60)


if __name__ == "__main__":
    main()
