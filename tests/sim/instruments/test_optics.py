"""The point spread, the raster and the photons against their formulas."""

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize_scalar
from scipy.special import j1

from mechanistic.random import stream_key
from mechanistic.threads import set_threads, threads
from sim.instruments.optics import Camera, Objective, blurred, transfer
from sim.instruments.painting import Balls, paint
from sim.instruments.photons import poisson

KEY = stream_key(5, "photons")


def balls(*rows):
    """Rows of x, y, z, outer, inner, light."""
    return Balls(*np.array(rows, float).T)


def test_the_width_is_that_of_the_gaussian_nearest_to_the_airy_pattern():
    v = np.linspace(1e-6, 60, 100_001)  # 2 pi NA r / wavelength
    airy = (2 * j1(v) / v) ** 2
    best = minimize_scalar(
        lambda s: float((((airy - np.exp(-(v**2) / (2 * s**2))) ** 2) * v).sum()), bounds=(0.5, 3)
    ).x
    lens = Objective(na=0.75, magnification=20)
    assert lens.width(0.52) == pytest.approx(best / (2 * np.pi) * 0.52 / 0.75, rel=0.005)


def test_out_of_focus_the_variance_is_that_of_the_cone_of_rays_besides():
    lens = Objective(na=0.75, magnification=20, index=1.33)
    disc = 7.0 * np.tan(np.arcsin(0.75 / 1.33))
    rng = np.random.default_rng(0)
    inside = rng.uniform(-disc, disc, (400_000, 2))
    inside = inside[(inside**2).sum(1) < disc**2]
    want = np.sqrt(lens.width(0.52) ** 2 + inside[:, 0].var())
    assert lens.width(0.52, 7.0) == pytest.approx(want, rel=0.003)
    assert lens.width(0.52, -7.0) == lens.width(0.52, 7.0)


def airy(na, wavelength, edge, rows, columns):
    """Share of a point's light in samples that lie so many edges from it, by quadrature over each."""
    part = ((np.arange(25) + 0.5) / 25 - 0.5) * edge
    y, x = (np.asarray(n)[:, None] * edge + part for n in (rows, columns))
    v = 2 * np.pi * na / wavelength * np.hypot(y[:, None, :, None], x[None, :, None, :]) + 1e-12
    return (np.pi * (na / wavelength) ** 2 * (2 * j1(v) / v) ** 2).mean((2, 3)) * edge**2


@pytest.mark.parametrize(("na", "step"), [(0.75, 0.1), (0.75, 0.325), (1.4, 0.65)])
def test_a_point_is_an_airy_pattern_whatever_the_samples(na, step):
    light = np.zeros((160, 128))
    light[80, 64] = 100.0
    seen = blurred([(light, 0.0)], light.shape, step, Objective(na, 20, 1.52).cutoff(0.52)) / 100
    assert seen.sum() == pytest.approx(1, rel=1e-12) and seen.min() >= 0
    near = np.arange(-6, 7)
    want = airy(na, 0.52, step, near, near)
    np.testing.assert_allclose(seen[74:87, 58:71], want, rtol=0.01, atol=2e-3 * want.max())
    # 83.8 % lie within the first dark ring, at 0.61 wavelength / NA
    if step == 0.1:
        y, x = np.indices(light.shape)
        inside = np.hypot(y - 80, x - 64) * step < 0.6098 * 0.52 / na
        assert seen[inside].sum() == pytest.approx(0.838, abs=0.02)


@pytest.mark.parametrize("spread", [0.2, 2.0])
def test_out_of_focus_the_pattern_is_blurred_by_a_gaussian(spread):
    """Far beyond the lens's own sharpness the Gaussian, integrated over each sample, is all that is seen."""
    light = np.zeros((200, 300))
    light[100, 150] = 1.0
    step, cutoff = 0.3, 1e4
    seen = blurred([(light, spread)], light.shape, step, cutoff)
    assert seen.sum() == pytest.approx(1, rel=1e-12) and seen.min() >= 0
    x = (np.arange(300) - 150) * step
    want = np.diff(stats.norm.cdf((x[:, None] + [-step / 2, step / 2]) / spread), axis=1)[:, 0]
    np.testing.assert_allclose(seen.sum(0), want, atol=1e-4)
    lens = Objective(0.75, 20).cutoff(0.52)
    both = transfer(lens, spread, step, (64, 64))
    frequency = np.fft.rfftfreq(64, step)
    gauss = np.exp(-2 * (np.pi * spread * frequency) ** 2)
    if spread > 1:
        np.testing.assert_allclose(both[0], transfer(lens, 0.0, step, (64, 64))[0] * gauss, atol=1e-9)


def test_layers_of_light_add_up():
    light = np.random.default_rng(3).random((2, 60, 50))
    both = blurred([(light[0], 0.5), (light[1], 2.0)], (60, 50), 0.3, 2.9)
    apart = (blurred([(of, s)], (60, 50), 0.3, 2.9) for of, s in zip(light, (0.5, 2.0), strict=True))
    np.testing.assert_allclose(both, sum(apart), rtol=1e-12)


def test_what_passes_is_the_overlap_of_two_discs():
    """Pupils shifted against each other, counted on a grid."""
    side = np.linspace(-1, 1, 2001)
    pupil = side[:, None] ** 2 + side**2 <= 1
    got = transfer(2.0, 0.0, 0.05, (400, 400))
    frequency = np.fft.rfftfreq(400, 0.05)
    for k in (0, 10, 20, 35):
        shift = round(frequency[k] / 2.0 * 2000)
        overlap = (pupil[:, shift:] & pupil[:, : 2001 - shift]).sum() / pupil.sum()
        assert got[0, k] == pytest.approx(overlap * np.sinc(frequency[k] * 0.05), abs=2e-3)
    assert not got[:, frequency > 2.0].any()


def test_a_ball_shines_with_all_its_light():
    for radius in (8.0, 1.3, 0.2, 0.01):
        seen = paint(balls([30.2, 25.7, 0, radius, 0, 2.0]), (100, 120), 0.5, -np.inf, np.inf)
        assert seen.sum() == pytest.approx(2.0 * 4 / 3 * np.pi * radius**3, rel=1e-12)


def test_a_ball_is_as_bright_as_it_is_deep():
    seen = paint(balls([30, 25, 0, 8.0, 0, 1.0]), (200, 240), 0.25, -np.inf, np.inf) / 0.25**2
    y, x = np.mgrid[:200, :240] * 0.25 + 0.125
    want = 2 * np.sqrt(np.maximum(64 - (x - 30) ** 2 - (y - 25) ** 2, 0))
    np.testing.assert_allclose(seen, want, rtol=2e-3, atol=1e-12)


def test_shells_and_slabs_hold_their_volumes():
    shell = paint(balls([30, 25, 3, 8.0, 5.0, 1.0]), (100, 120), 0.5, -np.inf, np.inf)
    assert shell.sum() == pytest.approx(4 / 3 * np.pi * (8**3 - 5**3), rel=1e-12)
    slabs = [
        paint(balls([30, 25, 3, 8.0, 5.0, 1.0]), (100, 120), 0.5, low, low + 2) for low in range(-8, 14, 2)
    ]
    assert sum(s.sum() for s in slabs) == pytest.approx(shell.sum(), rel=1e-12)
    top = paint(balls([30, 25, 3, 8.0, 0, 1.0]), (100, 120), 0.5, 3 + 6, np.inf)
    cap = np.pi * 2**2 * (3 * 8 - 2) / 3
    assert top.sum() == pytest.approx(cap, rel=1e-12)
    assert not paint(balls([30, 25, 3, 8.0, 0, 1.0]), (100, 120), 0.5, 11.5, 20).any()


def test_what_lies_beside_the_raster_is_left_out():
    half = paint(balls([0, 25, 0, 8.0, 0, 1.0]), (100, 120), 0.5, -np.inf, np.inf)
    assert half.sum() == pytest.approx(2 / 3 * np.pi * 8**3, rel=1e-9)
    assert not paint(balls([-9, 25, 0, 8.0, 0, 1.0]), (100, 120), 0.5, -np.inf, np.inf).any()


def test_many_balls_are_painted_to_the_same_bits_by_any_number_of_threads():
    rng = np.random.default_rng(2)
    x, y = rng.uniform(0, 100, (2, 800))
    none, radius, bright = np.zeros(800), rng.uniform(0.1, 9, 800), rng.uniform(0, 3, 800)
    many = Balls(x, y, none, radius, none, bright)
    before = threads()
    set_threads(1)
    one = paint(many, (256, 256), 0.4, -np.inf, np.inf)
    set_threads(before)
    np.testing.assert_array_equal(one, paint(many, (256, 256), 0.4, -np.inf, np.inf))
    alone = sum(
        paint(Balls(*(c[i : i + 1] for c in many)), (256, 256), 0.4, -np.inf, np.inf) for i in range(800)
    )
    np.testing.assert_array_equal(one, alone)


@pytest.mark.parametrize("mean", [0.03, 1.7, 9.9, 10.1, 45.0, 2.5e4])
def test_photons_are_poisson(mean):
    n = 20_000
    drawn = poisson(KEY, 3, np.arange(n), np.full(n, mean))
    assert drawn.mean() == pytest.approx(mean, abs=4 * np.sqrt(mean / n))
    spread = np.sqrt((mean + 2 * mean**2) / n)  # standard deviation of a Poisson sample's variance
    assert drawn.var() == pytest.approx(mean, abs=4 * spread)
    for share in (0.1, 0.5, 0.9):
        k = stats.poisson(mean).ppf(share)
        below = stats.poisson(mean).cdf(k)
        assert (drawn <= k).mean() == pytest.approx(below, abs=4 * np.sqrt(below * (1 - below) / n) + 1e-9)


def test_a_photon_number_is_that_of_its_key_step_and_id():
    means = np.tile([0.0, 0.5, 30.0, np.nan, 4000.0], 4000)
    ids = np.arange(20_000)
    drawn = poisson(KEY, 3, ids, means)
    order = np.random.default_rng(1).permutation(20_000)
    np.testing.assert_array_equal(poisson(KEY, 3, ids[order], means[order]), drawn[order])
    assert not drawn[means != means].any() and not drawn[means == 0].any()
    before = threads()
    set_threads(1)
    np.testing.assert_array_equal(poisson(KEY, 3, ids, means), drawn)
    set_threads(before)
    large = means > 1000
    assert (poisson(KEY, 4, ids, means) != drawn)[large].mean() > 0.9


def test_a_camera_has_mean_and_variance_of_photons():
    """Shot noise alone: mean = variance. With gain and read noise, the line of the photon transfer curve."""
    light = np.repeat([5.0, 50.0, 500.0], 30_000).reshape(3, 300, 100)
    keys = (KEY, stream_key(5, "reading"))
    plain = Camera(pixel=6.5).counts(light, keys, 0).astype(float).reshape(3, -1)
    error = np.array([5, 50, 500]) * np.sqrt(2 / 30_000)
    assert np.all(np.abs(plain.var(1) - plain.mean(1)) < 5 * error)
    chip = Camera(pixel=6.5, efficiency=0.6, dark=2.0, read_noise=3.0, gain=4.0, offset=100.0)
    counts = chip.counts(light, keys, 0).astype(float).reshape(3, -1)
    electrons = 0.6 * np.array([5, 50, 500]) + 2
    np.testing.assert_allclose(counts.mean(1), 100 + 4 * electrons, rtol=0.005)
    np.testing.assert_allclose(counts.var(1), 16 * (electrons + 9) + 1 / 12, rtol=0.05)


def test_a_camera_ends_where_it_ends():
    keys = (KEY, stream_key(5, "reading"))
    full = Camera(pixel=6.5, gain=2.0, offset=10.0, full_well=1000.0, bits=12)
    assert np.all(full.counts(np.full((4, 4), 1e6), keys, 0) == 2010)
    assert np.all(Camera(pixel=6.5, gain=2.0, bits=8).counts(np.full((4, 4), 1e6), keys, 0) == 255)
    noisy = Camera(pixel=6.5, read_noise=50.0).counts(np.zeros((40, 40)), keys, 0)
    assert noisy.dtype == np.uint16 and noisy.min() == 0
