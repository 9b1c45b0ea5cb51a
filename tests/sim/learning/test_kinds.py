"""A training file is of a kind, whichever package fits it, and its weights must have where to go."""

import pytest

from sim.errors import ScenarioError
from sim.learning import trained
from sim.validation import validated


@pytest.mark.parametrize(
    ("kind", "meant"), [("hybird", "hybrid"), ("scenarios", "scenario"), ("tisue", "tissue")]
)
def test_a_misspelt_kind_is_told_whoever_fits_it(tmp_path, kind, meant):
    file = tmp_path / "t.yaml"
    file.write_text(f"training: 1\nkind: {kind}\nname: x\n")
    for refuses in (validated, trained):
        with pytest.raises(ScenarioError, match=f"did you mean '{meant}'") as caught:
            refuses(file)
        assert [p.line for p in caught.value.problems] == [2]


@pytest.mark.parametrize("name", ["w.md", "w", "folder.safetensors", "file/w.safetensors"])
def test_weights_without_a_place_are_refused_before_anything_is_fitted(tmp_path, name):
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "t.yaml").write_text("training: 1\nkind: tissue\nname: x\n")
    with pytest.raises(ScenarioError, match="--output"):
        trained(tmp_path / "t.yaml", tmp_path / name)
