"""The stochastic cases of the SBML Test Suite, from the shared data; skipped where that is missing.

The suite's statistics at n cells (its README): Z = sqrt(n) (mean - mu) / sigma within `meanRange`, and
Y = sqrt(n/2) (S^2 / sigma^2 - 1) within `sdRange` at each time. Each of some 3,100 times is a test of a random thing,
of which the README lets a correct simulator fail a few: two or three Z and five or six Y in a whole run of the suite
as it was then, at n = 10,000. Of Z 0.27 %, eight here, are expected; Y has spread sqrt(1 + kurtosis/2), not 1, where a
few cells hold most of the variance (extinction, resets). So every case is held to bounds that a right method leaves
once in 10^5 tests, with that spread; of all means no more than 1 % may lie outside +-3 (the times of a case go
together, so that the count varies much). How many tests and cases lie outside the suite's own windows is printed.

Of 60 cases 27 are reactions; the other 33 draw from distributions (package `distrib`). Three of those, of Cauchy
distributions, give no spread: without bounds there is neither mean nor spread, and the median is held to what the
suite calls the mean, with its spread pi/2 times the scale over sqrt(n); with bounds the sample's own spread serves.

What lies outside at SEED is no bias. In 00003 and 00033 Y has a spread of 6.9 and 2.9 by the kurtosis, so that an exact
method leaves +-5 in most runs and in some. Over 20 and 60 further seeds the means of 00003, 00025, 00031, 00033 and
00039 agree with the suite to 2.8 sigma of the pooled sample at the worst of 50 times. In 00069, 00096 and 00097 the
suite's sd, 0.9952, is not that of the normal distribution truncated at -0.5, 0.9976, which ten million draws have.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sbml_data
from sbml_data import NEEDED

from mechanistic import load_model
from mechanistic.draws import parameters

pytestmark = NEEDED
N = 10_000
SEED = 0


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    folder, cases = sbml_data.suite(tmp_path_factory.mktemp("suite"), "stochastic")
    return folder, {
        packages: [c["id"] for c in cases if c["packages"] == packages.split()]
        for packages in ("", "distrib")
    }


def _window(text: str) -> tuple[float, float]:
    low, high = text.strip("() ").split(",")
    return float(low), float(high)


def _outside(folder: Path) -> tuple[dict[str, int], np.ndarray]:
    """How many Z and Y lie outside the suite's windows at SEED, and every Z; fails where that is no chance."""
    settings, table = sbml_data.settings(folder), sbml_data.results(folder)
    model = load_model(folder / "model.xml")
    course = model.simulate(table["time"], cells=N, method="ssa", seed=SEED)
    outside, all_z = {"meanRange": 0, "sdRange": 0}, [np.empty(0)]
    for name in (key[:-5] for key in table if key.endswith("-mean")):
        x, mean = course[f"amount.{name}"].values, table[f"{name}-mean"]
        if f"{name}-sd" not in table:
            z = _without_spread(model, x[:, 1:], mean[1:])
            assert np.abs(z).max() < 4.5, f"{folder.name} {name}: off by {np.abs(z).max():.2f} sigma"
            outside["meanRange"] += int(np.sum(np.abs(z) > 3))
            all_z.append(z)
            continue
        sd = table[f"{name}-sd"]
        sure = sd == 0
        np.testing.assert_array_equal(x[:, sure], np.broadcast_to(mean[sure], x[:, sure].shape))
        if np.all(sure):
            continue
        x, mean, sd = x[:, ~sure], mean[~sure], sd[~sure]
        away = x - x.mean(0)
        kurtosis = (away**4).mean(0) / (away**2).mean(0) ** 2 - 3
        z = np.sqrt(N) * (x.mean(0) - mean) / sd
        y = np.sqrt(N / 2) * (x.var(0, ddof=1) / sd**2 - 1)
        assert np.abs(z).max() < 4.5, f"{folder.name} {name}: mean off by {np.abs(z).max():.2f} sigma"
        spread = np.sqrt(1 + kurtosis / 2)
        assert np.abs(y / spread).max() < 4.5, f"{folder.name} {name}: sd off"
        all_z.append(z)
        for values, key in ((z, "meanRange"), (y, "sdRange")):
            low, high = _window(settings[key])
            outside[key] += int(np.sum((values < low) | (values > high)))
    return outside, np.concatenate(all_z)


def _without_spread(model, x: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Z of Cauchy draws: of the mean where they are bounded, else of the median."""
    ((draw, _, _),) = model.network.draws
    if np.all(np.isfinite(parameters(draw)[1])):
        return np.sqrt(N) * (x.mean(0) - mean) / x.std(0, ddof=1)
    return np.sqrt(N) * (np.median(x, axis=0) - mean) / (0.5 * np.pi * draw[3])


@pytest.mark.parametrize(("packages", "count"), [("", 27), ("distrib", 33)])
def test_means_and_spreads_of_the_suite(suite, packages, count):
    folder, cases = suite[0], suite[1][packages]
    assert len(cases) == count
    found = {case: _outside(folder / case) for case in cases}
    outside = [case for case, (counts, _) in found.items() if any(counts.values())]
    z = np.concatenate([z for _, z in found.values()])
    beyond = np.mean(np.abs(z) > 3)
    tests = {key: sum(counts[key] for counts, _ in found.values()) for key in ("meanRange", "sdRange")}
    print(f"{count - len(outside)} of {count} inside the suite's windows; outside: {outside}")
    print(f"of {len(z)} times {tests['meanRange']} means and {tests['sdRange']} spreads lie outside")
    print(f"{beyond:.2%} of {len(z)} means beyond 3 sigma (0.27 % expected)")
    assert beyond <= 0.01
