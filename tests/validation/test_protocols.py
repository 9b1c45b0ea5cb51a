"""The fixed protocols of ../shared/eval, held to simple rules on real data they were not fitted to."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EVAL = ROOT.parent / "shared" / "eval"

pytestmark = [
    pytest.mark.validation,
    pytest.mark.skipif(not EVAL.is_dir(), reason="the protocols of ../shared/eval are not here"),
]


def module(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = found
    spec.loader.exec_module(found)
    return found


@pytest.fixture(scope="module")
def protocols():
    return module(ROOT / "benchmarks" / "protocols.py")


def test_combinations_beat_every_simple_rule_on_every_channel(protocols):
    ev = module(EVAL / "combo_eval.py")
    table = ev.D + "pc9_combo_timecourse.npz"
    ours = ev.run(protocols.combo, table)
    for rule in (ev.control, ev.bliss, ev.hsa, ev.damp(0.8)):
        theirs = ev.run(rule, table)
        for channel in ours:
            assert ours[channel]["skill"] > theirs[channel]["skill"]
    assert min(ours[c]["skill"] for c in ours) > 0.5


@pytest.mark.parametrize(
    "kind, rule, least",
    [("s2c", "additive", 0.940), ("lodo_w", "ridge", 0.945), ("lodo_wo", "ridge", 0.820)],
)
def test_responses_to_drugs_beat_addition_and_ridge(protocols, kind, rule, least):
    ev = module(EVAL / "cellbox_eval.py")
    ours = ev.evaluate(protocols.cellbox, (kind,))[kind]
    theirs = ev.evaluate(ev.additive if rule == "additive" else ev.ridge(0.3, bias=True), (kind,))[kind]
    assert ours["r_pool"] > max(theirs["r_pool"], least)
    assert ours["r_node"] > theirs["r_node"]


def test_forecasts_beat_persistence_and_ridge(protocols):
    ev = module(EVAL / "traces_eval.py")
    tracks, label, split = ev.load(ev.D + "erk_akt_traces.npz")
    new = split == "validation"
    past, truth = tracks[new][:, : ev.H0], tracks[new][:, ev.H0 :]

    def error(guess):
        return ((guess - truth) ** 2).mean((0, 1))

    ours = error(protocols.traces(tracks[~new], label[~new], past, label[new]))
    for rule in (ev.persist, ev.ar(100.0)):
        assert (ours < error(rule(tracks[~new], label[~new], past, label[new]))).all()


def test_the_second_half_of_tracks_is_not_read(protocols):
    ev = module(EVAL / "traces_eval.py")
    tracks, label, split = ev.load(ev.D + "erk_akt_traces.npz")
    train, new = split == "train", split == "validation"
    whole = protocols.traces(tracks[train][::4], label[train][::4], tracks[new], label[new])
    past = protocols.traces(tracks[train][::4], label[train][::4], tracks[new][:, : ev.H0], label[new])
    assert (whole == past).all()


def test_snapshots_beat_the_transport_midpoint(protocols):
    pytest.importorskip("sklearn", reason="the protocol needs scikit-learn, which is not a dependency")
    ev = module(EVAL / "timecourse_eval.py")
    populations = ev.load("eb_2750.npz", 5)
    ours = ev.summary(ev.loo(populations, protocols.timecourse))
    theirs = ev.summary(ev.loo(populations, ev.ot_mid_bary))
    assert ours["W1"] < theirs["W1"]
    assert ours["E"] < theirs["E"]
    assert 0.85 < ours["vr"] < 1.15
