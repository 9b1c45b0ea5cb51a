"""What stands in a store, who may write it, and how it is read back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest
import toy
import xarray as xr

from sim.errors import ScenarioError, StoreError
from sim.store.layout import Layout, Variable
from sim.store.place import check_output
from sim.store.reader import cells_at, digest, open_run, to_anndata, verify
from sim.store.writer import RunWriter


@pytest.fixture(scope="module")
def run(shared_folder):
    out = shared_folder / "run.zarr"
    assert toy.go_on(*toy.start(out), stop=[]) == 0
    return out


def test_every_variable_has_units_and_a_name(run):
    tree = open_run(run)
    assert {g.lstrip("/") for g in tree.groups} == {
        "",
        "cells",
        "fields",
        "summary",
        "lineage",
        "instruments",
        "instruments/incucyte",
        "events",
    }
    for group in tree.subtree:
        for name, variable in group.to_dataset(inherit=False).variables.items():
            assert {"units", "long_name"} <= set(variable.attrs), f"{group.path}/{name}"
    assert tree["cells/pathway.p.ERK"].attrs["units"] == "uM"
    assert tree["cells/row_size"].attrs["sample_dimension"] == "obs"
    assert tree["fields/field.oxygen"].dims == ("time", "z", "y", "x")
    assert tree["summary/count"].dims == ("time", "type")
    assert list(tree["summary/type"].values) == ["tumour", "immune"]
    assert tree["events/text"].values[4] == "Schritt 5 µ"
    assert tree["cells/x"].dtype == np.float64
    assert tree["cells/pathway.p.ERK"].dtype == np.float32


def test_opens_without_warnings_by_xarray_and_zarr(run):
    import zarr

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tree = xr.open_datatree(run, engine="zarr")
        tree.load()
        alone = xr.open_dataset(run, engine="zarr", group="cells")
        whole = zarr.open_group(run, mode="r")
        single = zarr.open_array(run / "lineage/death_time", mode="r")
    np.testing.assert_array_equal(alone["x"], tree["cells/x"])
    np.testing.assert_array_equal(whole["cells/x"][:], tree["cells/x"])
    np.testing.assert_array_equal(single[:], tree["lineage/death_time"])


def test_readers_without_consolidated_metadata_see_the_same(run):
    with pytest.warns(match="checkpoints"):
        other = xr.open_datatree(run, engine="zarr", consolidated=False).load()
    xr.testing.assert_identical(other, open_run(run).load())


def test_units_of_time_are_not_decoded_as_timedelta(tmp_path):
    layout = Layout("days", ["a"], ["live"])
    with RunWriter.create(tmp_path / "r.zarr", layout=layout, attrs={}, identity={}) as writer:
        none = {v.name: np.empty(0) for v in layout.cell_variables()}
        writer.frame(2.0, none, {}, {"count": [0], "births": [0], "deaths": [0]})
        writer.commit({}, {}, status="complete")
    time = open_run(tmp_path / "r.zarr")["cells/time"]
    assert time.dtype == np.float64
    assert time.attrs["units"] == "d"


def test_chunks_of_many_rows(tmp_path):
    """Rows that span chunks, given in uneven portions, come back as given; so does a resumed half."""
    layout = Layout("min", ["a"], ["live"], cells=[Variable("ur.u", axes=(("latent", 3),))])
    draw = np.random.default_rng(1)
    frames = []
    writer = RunWriter.create(tmp_path / "r.zarr", layout=layout, attrs={}, identity={})
    for step, size in enumerate([70000, 1, 0, 65536, 33000, 12345]):
        cells = {v.name: draw.normal(size=(size, 3) if v.axes else size) for v in layout.cell_variables()}
        cells |= {n: draw.integers(0, 99, size) for n in ("cell", "type", "phase")}
        frames.append(cells)
        writer.frame(step, cells, {}, {"count": [size], "births": [0], "deaths": [0]})
        if step % 2:
            writer.commit({}, {"step": step}, status="running")
        if step == 3:
            writer.close()
            writer, there = RunWriter.resume(tmp_path / "r.zarr", expect={})
            assert there.meta == {"step": 3}
    writer.close()
    cells = open_run(tmp_path / "r.zarr")["cells"]
    for name in ("x", "cell", "ur.u"):
        given = np.concatenate([f[name] for f in frames]).astype(cells[name].dtype)
        np.testing.assert_array_equal(cells[name], given)
    verify(tmp_path / "r.zarr")


def test_cells_at(run):
    now = cells_at(open_run(run), 3)
    assert now.sizes["cell"] == 23
    assert set(now["type"].values) == {"tumour", "immune"}
    assert now["ur.drug"].dims == ("cell", "drug_latent")
    np.testing.assert_allclose(now["volume"], 1000 + now["x"])
    assert now.sel(cell=25)["type"] == "immune"
    with pytest.raises(ScenarioError, match=r"no cells were saved at t = 3\.9 h; near it: 3, 4, 5"):
        cells_at(open_run(run), 3.9)


def test_to_anndata(run, tmp_path):
    import anndata

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = to_anndata(open_run(run), 24)
    assert made.shape == (44, 1)
    assert list(made.var_names) == ["pathway.p.ERK"]
    assert made.var["units"].tolist() == ["uM"]
    assert set(made.obs["type"].cat.categories) == {"tumour", "immune"}
    assert made.obsm["spatial"].shape == (44, 3)
    assert made.obsm["X_drug"].shape == (44, 3)
    made.write_h5ad(tmp_path / "cells.h5ad")
    assert anndata.read_h5ad(tmp_path / "cells.h5ad").uns["time"] == 24


def test_lineage_fills_in_deaths(run):
    lineage = open_run(run)["lineage"].to_dataset().load()
    events = open_run(run)["events"].to_dataset().load()
    dead = lineage.sel(cell=events["cell"].values)
    np.testing.assert_array_equal(dead["death_time"], events["time"])
    assert (dead["cause"] == 1).all()
    assert lineage["cause"].attrs["flag_meanings"] == "alive apoptosis"


def test_a_lazy_reader_keeps_its_prefix_while_the_run_goes_on(tmp_path):
    """Opened before, read after two more commits: still the rows of the first."""
    writer, state = toy.start(tmp_path / "run.zarr")
    with writer:
        for _ in range(4):
            state.advance(writer)
            state.frame(writer)
            state.commit(writer, "running")
        then = open_run(tmp_path / "run.zarr").load()
        lazy = open_run(tmp_path / "run.zarr")
        for _ in range(2):
            state.advance(writer)
            state.frame(writer)
            state.commit(writer, "running")
        xr.testing.assert_identical(lazy.load(), then)
    assert open_run(tmp_path / "run.zarr")["cells"].sizes["time"] == 7


def test_an_existing_output_is_refused(run):
    with pytest.raises(ScenarioError, match=r"run\.zarr: exists; use --resume or --force"):
        toy.start(run)
    with pytest.raises(ScenarioError, match="exists; use --resume or --force"):
        check_output(run)
    check_output(run, resume=True)
    check_output(run, force=True)
    with pytest.raises(ScenarioError, match="goes on with the run and --force replaces it; give one"):
        check_output(run, resume=True, force=True)


def test_force_keeps_the_old_run_until_the_first_commit(tmp_path):
    out = tmp_path / "run.zarr"
    toy.start(out)[0].close()
    old = digest(out)
    layout = Layout("h", ["a"], ["live"])
    writer = RunWriter.create(out, layout=layout, attrs={}, identity={}, force=True)
    assert digest(out) == old
    writer.close()
    assert digest(out) == old
    assert [p.name for p in tmp_path.iterdir()] == ["run.zarr"]

    with RunWriter.create(out, layout=layout, attrs={}, identity={}, force=True) as writer:
        writer.commit({}, {}, status="complete")
    assert digest(out) != old
    assert [p.name for p in tmp_path.iterdir()] == ["run.zarr"]


def test_force_spares_what_is_no_run(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter.txt").write_text("dear")
    with pytest.raises(ScenarioError, match="not a run of cellweave; --force replaces only runs"):
        toy.start(tmp_path / "thesis", force=True)
    assert (tmp_path / "thesis/chapter.txt").read_text() == "dear"


def test_a_start_without_commit_leaves_nothing(tmp_path):
    layout = Layout("h", ["a"], ["live"])
    writer = RunWriter.create(tmp_path / "new" / "run.zarr", layout=layout, attrs={}, identity={})
    assert not (tmp_path / "new" / "run.zarr").exists()
    writer.close()
    assert list((tmp_path / "new").iterdir()) == []


def test_force_moved_aside_by_a_killed_process_comes_back(tmp_path):
    out = tmp_path / "run.zarr"
    toy.start(out)[0].close()
    os.rename(out, tmp_path / ".run.zarr.old")
    writer, _ = toy.resume(out)
    writer.close()
    verify(out)


def test_one_writer_at_a_time(tmp_path):
    out = tmp_path / "run.zarr"
    writer, _ = toy.start(out)
    words = rf"locked by pid {os.getpid()} on \S+ since \d{{4}}-\d\d-\d\dT"
    with pytest.raises(StoreError, match=words) as caught:
        toy.resume(out)
    assert caught.value.exit_code == 4
    with pytest.raises(StoreError, match=words):
        toy.start(out, force=True)
    # before anything is computed, and whatever was asked for
    for asked in ({}, {"resume": True}, {"force": True}):
        with pytest.raises(StoreError, match=words):
            check_output(out, **asked)
    writer.close()
    check_output(out, resume=True)
    toy.resume(out)[0].close()


def test_the_lock_of_a_dead_process_is_free(tmp_path):
    out = tmp_path / "run.zarr"
    code = f"import os, toy; toy.start({str(out)!r}); os._exit(9)"
    done = subprocess.run([sys.executable, "-c", code], cwd=os.path.dirname(toy.__file__))
    assert done.returncode == 9
    assert (tmp_path / ".run.zarr.lock").exists()
    toy.resume(out)[0].close()


def test_resume_refuses_another_scenario_or_version(tmp_path):
    out = tmp_path / "run.zarr"
    toy.start(out)[0].close()
    with pytest.raises(ScenarioError, match="this run began with abc, now it is def; resume with") as caught:
        RunWriter.resume(out, expect={**toy.IDENTITY, "scenario_sha256": "def"})
    assert [p.key for p in caught.value.problems] == ["scenario_sha256"]
    with pytest.raises(ScenarioError, match="there is no run here"):
        RunWriter.resume(tmp_path / "other.zarr", expect={})


def test_wrong_rows_are_refused(tmp_path):
    writer, state = toy.start(tmp_path / "run.zarr")
    with writer:
        with pytest.raises(ValueError, match=r"/cells: missing \['cell', .*unknown \['colour'\]"):
            writer.frame(1, {"colour": [0]})
        with pytest.raises(ValueError, match="not after the one before"):
            state.frame(writer)
        with pytest.raises(ValueError, match="never born"):
            writer.deaths(cell=[999], time=1, cause=0)
        with pytest.raises(ValueError, match="must ascend"):
            writer.births(cell=[5], time=1, parent=-1, type=0)


def test_attributes_are_plain_json(tmp_path):
    layout = Layout("h", ["a"], ["live"])
    attrs = {"seed": np.uint64(2**64 - 1), "error": np.nan, "seconds": {"fields": np.float32(1.5)}}
    with RunWriter.create(tmp_path / "r.zarr", layout=layout, attrs=attrs, identity={}) as writer:
        writer.commit({}, {}, status="complete", attrs={"wall": np.float64(2.0)})
    root = json.loads((tmp_path / "r.zarr/zarr.json").read_text())["attributes"]
    assert root["seed"] == 2**64 - 1
    assert root["error"] is None
    assert root["seconds"] == {"fields": 1.5}
    assert root["wall"] == 2.0
    assert root["status"] == "complete"


def test_a_lock_that_is_a_link_is_refused_and_what_it_leads_to_is_spared(tmp_path):
    (tmp_path / "letters").write_text("dear all")
    (tmp_path / ".run.zarr.lock").symlink_to(tmp_path / "letters")
    with pytest.raises(StoreError, match=r"\.run\.zarr\.lock: is a link"):
        toy.start(tmp_path / "run.zarr")
    assert (tmp_path / "letters").read_text() == "dear all"


def test_a_run_and_a_link_to_it_have_one_lock(tmp_path):
    writer, _ = toy.start(tmp_path / "run.zarr")
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "mine.zarr"
    link.symlink_to(tmp_path / "run.zarr")
    with pytest.raises(StoreError, match="locked by pid"):
        toy.resume(link)
    writer.close()
    toy.resume(link)[0].close()
    verify(tmp_path / "run.zarr")


def test_a_half_written_file_that_is_a_link_is_replaced_not_followed(tmp_path):
    (tmp_path / "letters").write_text("dear all")
    out = tmp_path / "run.zarr"
    writer, state = toy.start(out)
    for name in ("zarr.json", ".checkpoints/000000002.npz", "cells/x/c.0"):
        (out / f"{name}.partial").symlink_to(tmp_path / "letters")
    state.advance(writer)
    state.frame(writer)
    state.commit(writer, "running")
    writer.close()
    assert (tmp_path / "letters").read_text() == "dear all"
    verify(out)


@pytest.mark.parametrize("name", ["cells", "cells/x", "lineage/cause/c", ".checkpoints"])
def test_a_run_with_a_folder_elsewhere_is_not_gone_on_with(tmp_path, name):
    out = tmp_path / "run.zarr"
    toy.start(out)[0].close()
    shutil.move(out / name, tmp_path / "elsewhere")
    (out / name).symlink_to(tmp_path / "elsewhere")
    before = sorted(p.name for p in (tmp_path / "elsewhere").rglob("*"))
    with pytest.raises(ScenarioError, match="it is a link to another folder") as told:
        toy.resume(out)
    assert [p.file for p in told.value.problems] == [str(out / name)]
    assert sorted(p.name for p in (tmp_path / "elsewhere").rglob("*")) == before
