"""Runs of an explanation are shared, forked, spread and kept, and their numbers are those of plain runs."""

import json

import pytest
from scenes import scene

from sim.errors import Interrupted, ScenarioError, StoreError
from sim.interpret.effects import rows_of
from sim.interpret.explain import explain
from sim.interpret.forks import Forks, can_fork
from sim.interpret.journal import Journal
from sim.interpret.keeping import explain_into
from sim.interpret.runs import Runs
from sim.interpret.variants import INTACT, Bench, Variant
from sim.machine import interrupts
from sim.progress import Silent

OUTCOME = "mean(cell.volume, a) over 1-3 h"
LATE = Variant("without the drug's coupling", cut=(0,))
EARLY = Variant("without the food's coupling", cut=(1,))
NEVER = Variant("without a coupling of what is never there", cut=(2,))
DOSE = Variant("another dose", values=(("perturbations[0].to", "3 uM"),))
UNDONE = Variant("without the dose", undone=(0,))
HELD = Variant("drug as at the start", held=(0,))


@pytest.fixture(scope="module")
def bench():
    return Bench(scenario(), OUTCOME)


def scenario():
    return scene(
        "couplings:\n"
        "  - {from: field.drug, to: rate.death, linear: {slope: 4e-3}, mode: add}\n"
        "  - {from: field.food, to: rate.division, linear: {slope: 1e-3}, mode: add}\n"
        "  - {from: field.nothing, to: rate.death, linear: {slope: 1}, mode: add}",
        "perturbations: [{at: 90 min, set: field.drug, to: 1 uM, where: everywhere}]",
        fields="""{drug: {diffusion: 1e4 um^2/min}, food: {diffusion: 1e4 um^2/min, initial: 1 uM},
          nothing: {diffusion: 1e4 um^2/min}}""",
        cells="{a: {count: 30, place: {random: {}}, cycle: {division: 1e-3 /min}, growth: 0.01 /min}}",
        stop="3 h",
        step="15 min",
    )


def test_variants_leave_the_intact_run_where_they_begin_to_differ(bench):
    variants = [LATE, EARLY, NEVER, DOSE, UNDONE]
    assert all(can_fork(v, bench.plan) for v in variants) and not can_fork(HELD, bench.plan)
    assert not can_fork(Variant("longer", values=(("time.stop", "4 h"),)), bench.plan)
    forks = Forks(variants, bench.outcome)
    intact = bench.run(INTACT, 5, [forks])
    left = {v.name: f and f.time for v, f in forks.found.items()}
    # the drug is there from 90 min on, set at a stop: without its coupling the run is another from there; a
    # run without the dose itself is another from the stop before
    assert left == {LATE.name: 90, EARLY.name: 0, NEVER.name: None, DOSE.name: 60, UNDONE.name: 60}
    for v in (LATE, EARLY, DOSE, UNDONE):
        plain = bench.run(v, 5)
        assert bench.run(v, 5, fork=forks.found[v]) == plain != intact
    assert bench.run(NEVER, 5) == intact


def test_a_run_that_never_differs_is_not_done_and_none_is_done_twice(bench, monkeypatch):
    done = []
    run = Bench.run
    monkeypatch.setattr(
        Bench, "run", lambda self, variant, *a, **k: done.append(variant) or run(self, variant, *a, **k)
    )
    runs = Runs(bench, Silent())
    jobs = [(v, s) for s in (5, 6) for v in (INTACT, LATE, NEVER, LATE)]
    runs.fulfil(jobs)
    runs.fulfil(jobs)
    assert done == [INTACT, LATE] * 2
    assert runs[NEVER, 6] == runs[INTACT, 6] != runs[LATE, 6]


def test_workers_give_the_numbers_of_one_process(bench):
    jobs = [(v, s) for s in (5, 6) for v in (INTACT, LATE, DOSE, HELD)]
    here, there = Runs(bench, Silent()), Runs(bench, Silent(), workers=2)
    seeds = []
    here.fulfil(jobs)
    there.fulfil(jobs, seeds.append)
    assert [there[j] for j in jobs] == [here[j] for j in jobs] and seeds[-1] == 2


def asked(output, **options):
    return explain_into(output, scenario(), OUTCOME, methods=("ablation", "clamp"), seeds=3, **options)


def test_a_stopped_explanation_goes_on_where_it_was(tmp_path, monkeypatch):
    output = tmp_path / "why.zarr"
    keep = Journal.keep

    def stop_after_five(self, *run):
        keep(self, *run)
        if len(self) == 5:
            monkeypatch.setattr(interrupts, "_requested", 15)

    monkeypatch.setattr(Journal, "keep", stop_after_five)
    with pytest.raises(Interrupted, match="stopped with 5 runs finished") as stopped:
        asked(output)
    assert stopped.value.exit_code == 143 and stopped.value.kept and not output.exists()
    monkeypatch.setattr(interrupts, "_requested", 0)
    monkeypatch.setattr(Journal, "keep", keep)
    lines = (tmp_path / "why.zarr.runs").read_text().splitlines()
    assert Journal.seed(output) == scenario().seed and Journal.seed(tmp_path / "other.zarr") is None
    assert len(lines) == 6 and json.loads(lines[1])["variant"] == INTACT.text
    # as if the machine had died in the middle of a line
    (tmp_path / "why.zarr.runs").write_text("\n".join(lines) + '\n{"variant": "cut sh')
    with pytest.raises(ScenarioError, match="go on with --resume"):
        asked(output)
    with pytest.raises(ScenarioError, match="outcome is another one"):
        explain_into(output, scenario(), "count(a) @ 3 h", resume=True)

    again = []
    run = Bench.run
    monkeypatch.setattr(Bench, "run", lambda self, v, *a, **k: again.append(v.text) or run(self, v, *a, **k))
    found = asked(output, resume=True)
    kept = [json.loads(line)["variant"] for line in lines[1:]]
    # of each of three seeds: intact, two cuts that differ, three clamps; of two seeds half the step
    assert len(again) == 3 * 6 + 2 - len([k for k in kept if k != NEVER.text])
    assert output.exists() and not (tmp_path / "why.zarr.runs").exists()
    whole = explain(scenario(), OUTCOME, ("ablation", "clamp"), seeds=3)
    assert rows_of(found["ranking"].to_dataset()) == rows_of(whole["ranking"].to_dataset())


def test_a_damaged_journal_is_not_taken(tmp_path):
    (tmp_path / "why.zarr.runs").write_text("{}\nnonsense\n")
    with pytest.raises(ScenarioError, match="is damaged"):
        Journal(tmp_path / "why.zarr", {}, resume=True)


def test_an_explanation_of_which_no_run_is_finished_begins_again(tmp_path):
    Journal(tmp_path / "why.zarr", {"seed": "1"}, resume=False).close(remove=False)
    again = Journal(tmp_path / "why.zarr", {"seed": "2"}, resume=False)
    again.keep(INTACT, 3, 1.0)
    again.close(remove=False)
    with pytest.raises(ScenarioError, match="go on with --resume"):
        Journal(tmp_path / "why.zarr", {"seed": "2"}, resume=False)


def test_runs_are_written_through_no_link(tmp_path):
    (tmp_path / "why.zarr.runs").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StoreError):
        Journal(tmp_path / "why.zarr", {"seed": "1"}, resume=False)
    assert not (tmp_path / "nowhere").exists()
