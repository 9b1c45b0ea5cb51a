"""The shipped pathway models against what was published about them; RoadRunner integrates, as a judge."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

import numpy as np
import pytest

MODELS = Path(__file__).parents[2] / "scenarios" / "models"
BIOMODELS = Path(__file__).parents[3] / "shared" / "data" / "sbml" / "biomodels.tar.gz"
NAMES = ("egfr_mapk", "p53_mdm2", "delta_notch")

EGF_100_NG_PER_ML = 0.0166088  # [uM], 1.0002e7 molecules in 1 nL of medium, as Orton et al. 2009 stimulate
REST = dict.fromkeys(
    ("SOS_active", "C3G_active", "RasGTP", "Rap1GTP", "Raf1_active", "BRaf_active", "ppMEK", "ppERK",
     "RSK_active", "PI3K_active", "Akt_active"), 0.0,
)  # fmt: skip


def roadrunner_of(name: str):
    import roadrunner

    runner = roadrunner.RoadRunner(str(MODELS / f"{name}.xml"))
    runner.integrator.relative_tolerance = 1e-8
    runner.integrator.absolute_tolerance = 1e-12
    return runner


def course(runner, times, ids, start=(), **values):
    """Columns `ids` (time, id) at `times`, from `values` of parameters and `start` concentrations."""
    runner.resetAll()
    for key, value in values.items():
        runner[key] = value
    runner.reset()
    for key, value in dict(start).items():
        runner[f"[{key}]"] = value
    times = np.asarray(times, dtype=float)
    selections = [i if i in runner.model.getGlobalParameterIds() else f"[{i}]" for i in ids]
    return np.asarray(runner.simulate(times=times, selections=selections))


def peaks(times, values):
    """Times and heights of the maxima that stand out by a tenth of the largest value."""
    from scipy.signal import find_peaks

    at, _ = find_peaks(values, prominence=0.1 * values.max())
    return times[at], values[at]


# ---- the files


@pytest.mark.parametrize("name", NAMES)
def test_sbml_is_what_antimony_makes_of_the_source(name):
    import antimony

    antimony.clearPreviousLoads()
    assert antimony.loadAntimonyFile(str(MODELS / f"{name}.ant")) >= 0, antimony.getLastError()

    def body(text):
        return re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL).split()

    assert body(antimony.getSBMLString(name)) == body((MODELS / f"{name}.xml").read_text())


@pytest.mark.parametrize(("name", "seconds"), [("egfr_mapk", 60), ("p53_mdm2", 3600), ("delta_notch", 3600)])
def test_units_are_declared_and_consistent(name, seconds):
    import libsbml

    document = libsbml.readSBMLFromFile(str(MODELS / f"{name}.xml"))
    document.setConsistencyChecks(libsbml.LIBSBML_CAT_UNITS_CONSISTENCY, True)
    document.checkConsistency()
    assert [document.getError(i).getMessage() for i in range(document.getNumErrors())] == []
    model = document.getModel()
    assert (document.getLevel(), document.getVersion()) == (3, 2)
    assert all(p.isSetUnits() for p in model.getListOfParameters())
    second = model.getUnitDefinition(model.getTimeUnits()).getUnit(0)
    assert second.getMultiplier() * 10 ** second.getScale() == pytest.approx(seconds)


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_names_its_source(name):
    text = (MODELS / f"{name}.ant").read_text()
    lines = re.findall(r"^  (\w+) = [-\d.e]+;\s+\1 has \w+;(.*)$", text, flags=re.MULTILINE)
    assert len(lines) > 8
    sourced = re.compile(r"//.*(\[[A-Z]\]|\binput\b|\bours\b|\bthis file\b)")
    assert [i for i, comment in lines if not sourced.search(comment)] == []


# ---- EGFR -> ERK: Orton et al. 2009, BMC Systems Biology 3:100


@pytest.fixture(scope="module")
def egfr():
    return roadrunner_of("egfr_mapk")


MINUTES = np.linspace(0, 60, 121)


def erk_after_egf(runner, **values):
    """Active share of ERK over an hour of 100 ng/ml EGF on cells with the wild-type receptor."""
    values = {"mutant_fraction": 0, "EGF": EGF_100_NG_PER_ML} | values
    return course(runner, MINUTES, ["ppERK"], REST, **values)[:, 0] / runner["ERK_total"]


def test_egf_gives_a_transient_that_peaks_at_5_min_and_ends_by_30_min(egfr):
    erk = erk_after_egf(egfr)
    assert MINUTES[erk.argmax()] == pytest.approx(5, abs=1)
    assert erk.max() > 0.8
    assert erk[MINUTES >= 30].max() < 0.05


def test_receptor_degradation_ends_the_signal_and_the_sos_feedback_hardly_does(egfr):
    control = erk_after_egf(egfr)
    assert erk_after_egf(egfr, k_degrade=0)[-1] > 0.7
    without_feedback = erk_after_egf(egfr, k_feedback=0)
    assert without_feedback.max() == pytest.approx(control.max(), rel=0.05)
    assert without_feedback[-1] < 0.05


def test_ras_carries_the_peak_and_rap1_the_duration(egfr):
    control, ras, rap1 = (erk_after_egf(egfr, **ko) for ko in ({}, {"Ras_total": 0}, {"Rap1_total": 0}))
    assert ras.max() < rap1.max() < control.max()
    assert np.ptp(MINUTES[rap1 > rap1.max() / 2]) < np.ptp(MINUTES[ras > ras.max() / 2])


def test_mutant_receptor_keeps_erk_on_through_rap1_and_braf(egfr):
    def erk_at_600_min(**values):
        return course(egfr, [0, 600], ["ppERK"], REST, **values)[-1, 0]

    control = erk_at_600_min()
    assert control / egfr["ERK_total"] > 0.7
    assert erk_at_600_min(Ras_total=0) > 0.9 * control
    assert erk_at_600_min(Raf1_total=0) > 0.9 * control
    assert erk_at_600_min(Rap1_total=0) < 0.2 * control
    assert erk_at_600_min(BRaf_total=0) < 0.2 * control


def steady(runner, ids=("ppERK",), **values):
    return course(runner, [0, 20_000], list(ids), **values)[-1]


def test_untreated_pc9_cell_starts_in_its_steady_state(egfr):
    first, last = course(egfr, [0, 20_000], [*egfr.model.getFloatingSpeciesIds(), "ppERK_untreated", "ppERK"])
    np.testing.assert_allclose(first, last, rtol=1e-5, atol=1e-9)
    assert last[-1] == pytest.approx(last[-2], rel=1e-5)


def test_inhibitor_lowers_erk_monotonically_at_nanomolar_doses(egfr):
    doses = np.concatenate([[0], np.logspace(-4, 1, 11)])
    erk = np.array([steady(egfr, inhibitor=dose)[0] for dose in doses])
    assert (np.diff(erk) < 0).all()
    half = np.interp(-0.5 * erk[0], -erk, doses)
    assert 0.01 < half < 0.2  # [uM]; kinase IC50 is 0.029 uM, and the cascade amplifies what is left of it
    assert erk[-1] < 0.02 * erk[0]
    egfr.resetAll()
    assert egfr["IC50_kinase"] == pytest.approx(0.0033 * (1 + 1000 / 129))


def test_relative_ppERK_is_one_at_every_dose_unless_the_cell_differs(egfr):
    for dose in (0, 0.00412, 0.037, 0.111, 0.333, 1):
        assert steady(egfr, ["ppERK_relative"], inhibitor=dose)[0] == pytest.approx(1, abs=0.025)
        assert steady(egfr, ["ppERK_relative"], inhibitor=dose, EGFR_total=0.2)[0] > 1.08
        assert steady(egfr, ["ppERK_relative"], inhibitor=dose, k_mek=18.5759)[0] < 0.3


def test_a_dose_does_not_make_cells_look_hyperactive_until_their_ppERK_has_fallen(egfr):
    for dose in (0.037, 0.3, 1.0):
        relative = course(egfr, np.linspace(0, 240, 241), ["ppERK_relative"], inhibitor=dose)[:, 0]
        assert relative[0] == pytest.approx(1, abs=1e-5)
        assert abs(relative - 1).max() < 0.35
        assert abs(relative[30:] - 1).max() < 0.1


# ---- p53 and Mdm2: Geva-Zatorsky et al. 2006, Mol Syst Biol 2:2006.0033


@pytest.fixture(scope="module")
def p53():
    return roadrunner_of("p53_mdm2")


HOURS = np.linspace(0, 72, 1441)


def test_damaged_cell_is_model_iv_as_published(p53):
    if not BIOMODELS.is_file():
        pytest.skip("../shared/data/sbml/biomodels.tar.gz is not here")
    import roadrunner

    with tarfile.open(BIOMODELS) as archive:
        text = archive.extractfile("biomodels/BIOMD0000000157.xml").read().decode()  # type: ignore[union-attr]
    published = roadrunner.RoadRunner(text)
    published.integrator.relative_tolerance = 1e-8
    theirs = np.asarray(published.simulate(times=HOURS[:481], selections=["[x]", "[y0]", "[y]"]))
    start = {"p53": 0, "Mdm2_precursor": 0.1, "Mdm2": 0.8}
    ours = course(p53, HOURS[:481], ["p53", "Mdm2_precursor", "Mdm2"], start, damage=100)
    np.testing.assert_allclose(ours, theirs, atol=2e-3)


def test_no_damage_no_p53(p53):
    values = course(p53, HOURS, ["p53", "Mdm2"])
    assert values[:, 0].max() == 0
    np.testing.assert_allclose(values[:, 1], 0.8, rtol=1e-6)


def test_damage_gives_undamped_pulses_for_three_days(p53):
    values = course(p53, HOURS, ["p53", "Mdm2"], damage=1)
    at, height = peaks(HOURS, values[:, 0])
    assert len(at) >= 10
    assert np.diff(at).mean() == pytest.approx(5.5, abs=1.5)
    assert height[-1] == pytest.approx(height[2], rel=0.02)
    mdm2, _ = peaks(HOURS, values[:, 1])
    assert (mdm2[:9] - at[:9]).mean() == pytest.approx(2, abs=0.5)


def test_pulses_are_digital(p53):
    """More damage changes neither the height nor the period of the pulses (Lahav et al. 2004)."""
    seen = [peaks(HOURS, course(p53, HOURS, ["p53"], damage=d)[:, 0]) for d in (0.5, 1, 10)]
    periods = [np.diff(at).mean() for at, _ in seen]
    heights = [height[-1] for _, height in seen]
    assert np.ptp(periods) < 0.1
    assert np.ptp(heights) < 0.02 * heights[-1]


def test_noise_in_production_varies_amplitude_more_than_period(p53):
    rng = np.random.default_rng(1)
    times = HOURS[:1081:2]
    period, amplitude = [], []
    for x, y in rng.normal(size=(80, 2)):
        sx, sy = np.sqrt(np.log1p(0.6**2)), np.sqrt(np.log1p(0.9**2))
        values = {"beta_x": 0.9 * np.exp(sx * x - sx**2 / 2), "beta_y": 2.5 * np.exp(sy * y - sy**2 / 2)}
        at, height = peaks(times, course(p53, times, ["p53"], damage=1, **values)[:, 0])
        if len(at) > 3:
            period.append(np.diff(at)[1:].mean())
            amplitude.append(height[1:].mean())
    assert len(period) > 70

    def variation(values):
        return np.std(values) / np.mean(values)

    assert np.mean(period) == pytest.approx(5.5, abs=1.5)
    assert variation(period) == pytest.approx(0.2, abs=0.08)  # published: about 20 %
    assert variation(amplitude) == pytest.approx(0.7, abs=0.2)  # published: about 70 %


# ---- Delta and Notch: Collier et al. 1996, J Theor Biol 183:429

TWO_CELLS = """
model two
  A: delta_notch(); B: delta_notch();
  A.D_neighbours := B.D; B.D_neighbours := A.D;
end
"""


@pytest.fixture(scope="module")
def pair():
    """Two cells, each the neighbour of the other."""
    import antimony
    import roadrunner

    antimony.clearPreviousLoads()
    source = (MODELS / "delta_notch.ant").read_text() + TWO_CELLS
    assert antimony.loadAntimonyString(source) >= 0, antimony.getLastError()
    runner = roadrunner.RoadRunner(antimony.getSBMLString("two"))
    runner.integrator.relative_tolerance = 1e-10
    runner.integrator.absolute_tolerance = 1e-14
    return runner


def homogeneous(b: float) -> tuple[float, float, float]:
    """Delta and Notch of the uniform steady state, and the growth rate [1/h] of a difference of two cells.

    Linearised, (rate + 1)^2 = -F'(D) G'(N): both cells equal is unstable where F'G' < -1.
    """
    from scipy.optimize import brentq

    a = 0.01

    def f(d):
        return d**2 / (a + d**2)

    def g(n):
        return 1 / (1 + b * n**2)

    d = brentq(lambda d: g(f(d)) - d, 0, 1, xtol=1e-15)
    slope = -(2 * a * d / (a + d**2) ** 2) * (2 * b * f(d) / (1 + b * f(d) ** 2) ** 2)
    return d, f(d), np.sqrt(-slope) - 1


def two_cells(runner, times, b, difference):
    """Delta of both cells (time, 2), started at the uniform state with a relative `difference` of Delta."""
    d, n, _ = homogeneous(b)
    runner.resetAll()
    for cell, sign in (("A", 1), ("B", -1)):
        runner[f"{cell}_b"] = b
        runner[f"[{cell}_D]"] = d * (1 + sign * difference)
        runner[f"[{cell}_N]"] = n
    return np.asarray(runner.simulate(times=times, selections=["[A_D]", "[B_D]"]))


def test_two_equal_cells_become_different(pair):
    _, _, rate = homogeneous(100)
    assert rate > 0
    values = two_cells(pair, np.linspace(0, 100, 201), b=100, difference=0.01)
    high, low = values[-1].max(), values[-1].min()
    assert high > 0.9
    assert low < 0.05


def test_a_small_difference_grows_at_the_linear_rate(pair):
    _, _, rate = homogeneous(100)
    times = np.linspace(0, 20, 41)
    values = two_cells(pair, times, b=100, difference=1e-6)
    gap = np.abs(values[:, 0] - values[:, 1])
    late = times >= 10
    assert np.polyfit(times[late], np.log(gap[late]), 1)[0] == pytest.approx(rate, rel=0.01)


def test_weak_repression_leaves_the_cells_equal(pair):
    _, _, rate = homogeneous(1)
    assert rate < 0
    values = two_cells(pair, np.linspace(0, 60, 61), b=1, difference=0.2)
    assert abs(values[-1, 0] - values[-1, 1]) < 1e-6
