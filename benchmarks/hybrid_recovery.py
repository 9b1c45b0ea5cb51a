"""Terms found again: Lotka-Volterra with both interactions hidden, Ruoff's glycolysis, Boehm's STAT5. For `hybrid.py`.

Lotka-Volterra: four courses of 31 points over 3 units of time, noise in shares of each species' mean. Ruoff: 46 times
up to 1.5, NADH and ATP with noise of 5 % of their mean, test on the courses without noise from 1.5 to 5, as the
published pipeline has it (Philipps et al., npj Syst. Biol. Appl. 11, 101, 2025, test error 0.213); normalised mean
absolute error: the mean of |said - true| over the mean of |true|, of both observables. Parameters of the pathway are
fitted too, all but that of the hidden term; of each the order of magnitude is known (normal prior of 0.5 in log10
around the middle of its bounds). Boehm: the real measurements of the benchmark collection.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mechanistic import PathwayModel, load_model
from mechanistic.errors import IntegrationError
from mechanistic.joining import joined
from mechanistic.network import ReactionNetwork
from sim.fitting.evidence import fit_weights
from sim.fitting.objective import Objective, Study
from sim.fitting.optimize import Fit
from sim.fitting.parts import Experiment, Measurement, Observable, Parameter, Period, Prior
from sim.fitting.spans import Settings
from sim.hybrid import Changes, Gives, Hybrid, Joint, Rate, Sets
from sim.hybrid.selection import select
from sim.hybrid.structure import Structure, find_structure

if TYPE_CHECKING:
    import xarray

LV_KNOWN = """
model lv
  compartment c = 1; species x in c, y in c; x = 1; y = 1; a = 1.3; d = 1.8; b = 0.9; g = 0.8
  G: -> x; a*x
  D: y -> ; d*y
  {}
end"""
LV_TRUE = LV_KNOWN.format("I: x -> ; b*x*y; J: -> y; g*x*y")
LV_STARTS = ((0.44249296, 4.6280594), (1.5, 1.0), (3.0, 2.0), (1.0, 3.0))
LV_TIMES = np.linspace(0.0, 3.0, 31)
_LOOSE = Settings(rtol=1e-6, atol=1e-9)
RUOFF_SPECIES = ("S_1", "S_2", "S_3", "S_4", "N_2", "A_3", "S_4_ex")
RUOFF_SCALES = (1.0, 0.3, 0.1, 0.1, 0.2, 2.0, 0.1)
BOEHM_SPECIES = ("STAT5A", "STAT5B", "pApB", "pApA", "pBpB", "nucpApA", "nucpApB", "nucpBpB")


def lotka_volterra(noise: float, seed: int, courses: int = 4) -> tuple[bool, Structure, float]:
    """Whether the structure is exactly that of the truth, the structure, and the CPU seconds that it took."""
    begin = time.process_time()
    initial = {s: [start[k] for start in LV_STARTS[:courses]] for k, s in enumerate("xy")}
    true = load_model(LV_TRUE).simulate(LV_TIMES, cells=courses, initial=initial, rtol=1e-9)
    values = np.stack([true[s].values for s in "xy"], -1)
    spread = noise * values.mean((0, 1))
    values = values + spread * np.random.default_rng(seed).normal(size=values.shape)
    joint = Joint("u", ("x", "y"), (Rate({"x": 1}), Rate({"y": 1})), seed=seed, input_scales=(2.0, 2.0))
    hybrid = Hybrid(LV_KNOWN.format(""), [joint])
    study = Study(
        hybrid.network,
        tuple(Experiment(f"e{i}", (Period(0.0),), {s: initial[s][i] for s in "xy"}) for i in range(courses)),
        tuple(Observable(s, s, float(v)) for s, v in zip("xy", spread)),
        tuple(
            Measurement(s, f"e{i}", float(t), float(values[i, k, j]))
            for i in range(courses)
            for k, t in enumerate(LV_TIMES)
            if t > 0
            for j, s in enumerate("xy")
        ),
    )
    objective = Objective(hybrid.fit_parameters(), [study], _LOOSE)
    found = fit_weights(objective, most=60)
    hybrid = hybrid.with_weights(hybrid.taken(dict(zip(objective.names, found.x))))
    samples = hybrid.samples("u", hybrid.simulate(LV_TIMES, cells=courses, initial=initial))
    structure = find_structure(hybrid, "u", study, samples, settings=_LOOSE)
    exact = [set(terms) for terms in structure.terms] == [{"x y"}, {"x y"}]
    return exact, structure, time.process_time() - begin


@dataclass(frozen=True)
class Glycolysis:
    """What was found of Ruoff's glycolysis.

    Attributes:
        error: of the test, of the network of most evidence; mechanism: of the true rate law, fitted to the same
            measurements with the same priors: what these allow.
        shares: what the network depends on.
        seconds: of CPU time.
    """

    error: float
    mechanism: float
    shares: dict[str, float]
    seconds: float


def ruoff(folder: Path, seed: int, starts: int = 1) -> Glycolysis:
    """The network in the place of ATP's consumption, chosen by evidence; see `sim.hybrid.selection`."""
    begin = time.process_time()
    model = load_model(folder / "model_Ruoff_BPC2003.xml")
    times = np.arange(0.0, 5.0001, 5.0 / 150.0)
    train, observed = times <= 1.5 + 1e-9, ("N_2", "A_3")
    true = model.simulate(times, rtol=1e-9)
    rng = np.random.default_rng(seed)
    spread = {o: 0.05 * float(true[o].mean()) for o in observed}
    points = {o: true[o].values[0][train] + spread[o] * rng.normal(size=int(train.sum())) for o in observed}
    pathway = _bounded(folder / "Ruoff_BPC2003" / "parameters_noise_5.tsv")
    hidden = [p for p in pathway if p.id != "k_5"]
    measurements = tuple(
        Measurement(o, "e", float(t), float(v)) for o in observed for t, v in zip(times[train], points[o])
    )
    observables = tuple(Observable(o, o, spread[o]) for o in observed)

    def objective(network: ReactionNetwork, parameters: Sequence[Parameter]) -> Objective:
        study = Study(network, (Experiment("e", (Period(0.0),)),), observables, measurements)
        return Objective(parameters, [study], Settings(rtol=1e-6, atol=1e-10))

    def error(course: xarray.Dataset) -> float:
        pairs = [(course[o].values[0][~train], true[o].values[0][~train]) for o in observed]
        return float(np.mean([np.abs(said - t).mean() / np.abs(t).mean() for said, t in pairs]))

    joint = Joint("use", RUOFF_SPECIES, Sets("v_5"), input_scales=RUOFF_SCALES, output_scales=(2.0,))
    found = select(
        model, [joint], lambda hybrid: objective(hybrid.network, [*hidden, *hybrid.fit_parameters()]),
        starts=starts, deviation=0.5, most=60, rounds=20,
    )  # fmt: skip
    hybrid, values = found.hybrid, {p.id: found.values[p.id] for p in hidden}
    course = hybrid.simulate(times, parameters=values, rtol=1e-7)
    shares = hybrid.term("use", hybrid.samples("use", course.isel(time=train))).dependence()
    seconds = time.process_time() - begin
    whole = objective(model.network, pathway)
    fitted = whole.values(fit_weights(whole, weights=()).x)
    beside = model.simulate(times, parameters={p.id: v for p, v in zip(pathway, fitted)}, rtol=1e-7)
    return Glycolysis(error(course), error(beside), shares, seconds)


def _bounded(table: Path) -> list[Parameter]:
    found = []
    with open(table) as file:
        for row in csv.DictReader(file, delimiter="\t"):
            if row["parameterScale"] == "log10":
                low, high = float(row["lowerBound"]), float(row["upperBound"])
                middle = 0.5 * (np.log10(low) + np.log10(high))
                prior = Prior("normal", (middle, 0.5), scaled=True)
                found.append(Parameter(row["parameterId"], 10**middle, low, high, "log10", True, prior))
    return found


def boehm(problem: Path, variant: str, starts: int = 4) -> tuple[float, float, float]:
    """Log-likelihood of the variant, that of the mechanistic model, and the largest relative change of mass."""
    from sim.petab import load

    mechanistic = load(problem)
    reached = mechanistic.objective().llh
    scales = (100.0,) * 8
    joint = {
        "a": Joint(
            "export", BOEHM_SPECIES, Rate(instead_of="v7_v_6", times=("nucpApA",)), positive=True,
            input_scales=scales, output_scales=(0.01,),
        ),
        "b": Joint(
            "pairing", BOEHM_SPECIES, Rate(instead_of="v2_v_1", times=("STAT5A", "STAT5B")),
            input_scales=scales, output_scales=(2e-3,),
        ),
        "c": Joint(
            "carriers", (*BOEHM_SPECIES, "K_A", "K_AB", "K_B"),
            tuple(Changes(k, 1.0) for k in ("K_A", "K_AB", "K_B")),
            input_scales=(*scales, 1.0, 1.0, 1.0), output_scales=(0.02,) * 3,
        ),
        "d": Joint("ratio", BOEHM_SPECIES, Gives("ratio_seen"), input_scales=scales, output_scales=(100.0,)),
    }[variant]  # fmt: skip
    study = mechanistic.objective.studies[0]
    hybrid = Hybrid(study.network, [joint])
    network = hybrid.network
    if variant == "c":
        carried = {"v7_v_6": "K_A", "v8_v_7": "K_AB", "v9_v_8": "K_B"}
        network = joined(network, rates={r: ["*", network.rate_law(r), k] for r, k in carried.items()})
    if variant == "d":
        study = replace(
            study,
            observables=tuple(
                replace(o, formula="ratio_seen") if o.id == "rSTAT5A_rel" else o for o in study.observables
            ),
        )
    parameters = [*mechanistic.objective.parameters, *hybrid.fit_parameters()]
    objective = Objective(parameters, [replace(study, network=network)])
    best: Fit | None = None
    for k in range(starts):
        start = objective.nominal.copy()
        weights = [i for i, n in enumerate(objective.names) if "__" in n]
        start[weights] *= (1.0, 0.3, 0.1, 2.0)[k % 4]
        try:
            found = fit_weights(objective, deviation=3.0, horizons=(0.25, 0.999, 1.0), start=start, most=150)
        except IntegrationError:
            continue
        if best is None or found.llh > best.llh:
            best = found
        if best.llh >= reached:
            break
    assert best is not None
    values = {
        p.id: float(v)
        for p, v in zip(objective.parameters, objective.values(best.x))
        if p.id in network.settable_ids
    }
    course = PathwayModel(network).simulate(
        np.linspace(0.0, 240.0, 49), parameters=values, rtol=1e-9, atol=1e-12
    )
    drift = 0.0
    for own in "AB":
        total = sum(
            n * course[f"amount.{s}"].values
            for s, n in (
                (f"STAT5{own}", 1),
                (f"p{own}p{own}", 2),
                (f"nucp{own}p{own}", 2),
                ("pApB", 1),
                ("nucpApB", 1),
            )
        )
        drift = max(drift, float(np.ptp(total) / np.max(total)))
    return best.llh, reached, drift
