"""Shipped scenarios: listed, found by name, copied whole."""

import pytest

from sim import Scenario
from sim.build import plan
from sim.errors import ScenarioError
from sim.library import copy, find, shipped


def test_quickstart_comes_first_and_each_says_what_it_is_about():
    assert next(iter(shipped())) == "quickstart"
    assert {"quickstart", "pc9_combination", "p53_pulses", "delta_notch"} <= set(shipped())
    for s in shipped().values():
        assert len(s.about) > 20 and not s.about.endswith(".")


@pytest.mark.parametrize("name", sorted(shipped()))
def test_a_copy_is_complete_and_plans_on_its_own(name, tmp_path):
    made = copy(name, tmp_path / "mine")
    assert all(f.is_file() for f in made) and (tmp_path / "mine" / "schema.json") in made
    assert plan(Scenario.load(tmp_path / "mine" / f"{name}.yaml")).processes


def test_a_copy_overwrites_nothing(tmp_path):
    copy("delta_notch", tmp_path)
    (tmp_path / "delta_notch.yaml").write_text("mine")
    with pytest.raises(ScenarioError, match="exists"):
        copy("delta_notch", tmp_path)
    assert (tmp_path / "delta_notch.yaml").read_text() == "mine"


def test_a_file_of_that_name_comes_before_the_shipped_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find("quickstart").endswith("quickstart.yaml")
    (tmp_path / "quickstart").write_text("mine")
    assert find("quickstart") == "quickstart"
    assert find("a/path.yaml") == "a/path.yaml"


@pytest.mark.parametrize("call", [find, lambda name: copy(name, None)])
def test_a_misspelt_name_is_answered_with_the_nearest(call):
    with pytest.raises(ScenarioError, match="did you mean 'quickstart'"):
        call("quickstrat")
