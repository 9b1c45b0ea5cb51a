"""COMBINE archives: the model inside is read, and nothing else can happen."""

from __future__ import annotations

import re
import stat
import zipfile
from pathlib import Path

import pytest
from pathway_examples import BASE

from mechanistic.errors import ModelError
from mechanistic.sbml import read_network

MANIFEST = """<?xml version="1.0"?>
<omexManifest xmlns="http://identifiers.org/combine.specifications/omex-manifest">
<content location="." format="http://identifiers.org/combine.specifications/omex"/>
<content location="./m.xml" format="http://identifiers.org/combine.specifications/sbml" master="true"/>
</omexManifest>
"""


def archive(
    folder: Path, *members: tuple[str | zipfile.ZipInfo, str], manifest: str | None = MANIFEST
) -> Path:
    file = folder / "model.omex"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        if manifest is not None:
            made.writestr("manifest.xml", manifest)
        for name, content in members:
            made.writestr(name, content)
    return file


def test_the_model_of_an_archive_is_read(tmp_path):
    network = read_network(archive(tmp_path, ("m.xml", BASE)))
    assert network.species_ids == ("S1", "S2")
    assert network.source == BASE


def link() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("link.xml")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize(
    ("members", "manifest", "says"),
    [
        ([("m.xml", BASE), ("../../evil.xml", "x")], MANIFEST, "leaves the archive"),
        ([("m.xml", BASE), ("/tmp/evil.xml", "x")], MANIFEST, "leaves the archive"),
        ([("m.xml", BASE), (link(), "/etc/passwd")], MANIFEST, "symbolic link"),
        ([("m.xml", BASE), ("zeros", "0" * (65 << 20))], MANIFEST, "limit of size"),
        ([("m.xml", BASE)], None, "no manifest"),
        ([], MANIFEST, "does not hold"),
        ([("m.xml", BASE)], "<!DOCTYPE x><omexManifest/>", "DOCTYPE"),
        ([("m.xml", BASE)], "<omexManifest/>", "no SBML model"),
        ([("m.xml", BASE)], "<omexManifest", "this is no manifest file"),
    ],
)
def test_archives_that_are_refused(tmp_path, members, manifest, says):
    file = archive(tmp_path, *members, manifest=manifest)
    with pytest.raises(ModelError) as caught:
        read_network(file)
    assert any(says in problem.message for problem in caught.value.problems)
    assert [f.name for f in tmp_path.iterdir()] == ["model.omex"]


def test_a_cut_archive_is_refused(tmp_path):
    file = archive(tmp_path, ("m.xml", BASE))
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(ModelError, match="zip"):
        read_network(file)


def two_models(folder: Path, *marks: str) -> Path:
    lines = "".join(
        f'<content location="./{name}" format="http://identifiers.org/combine.specifications/sbml"{mark}/>'
        for name, mark in zip(("a.xml", "b.xml"), marks)
    )
    other = BASE.replace("S2", "S3")
    manifest = re.sub(r"<content location=\"./m.xml.*?/>", lines, MANIFEST)
    return archive(folder, ("a.xml", BASE), ("b.xml", other), manifest=manifest)


@pytest.mark.parametrize("mark", ['master="true"', 'master="1"'])
def test_of_several_models_the_master_is_read(tmp_path, mark):
    assert read_network(two_models(tmp_path, "", f" {mark}")).species_ids == ("S1", "S3")
    assert read_network(two_models(tmp_path, f" {mark}", "")).species_ids == ("S1", "S2")


@pytest.mark.parametrize(
    ("marks", "says"),
    [(("", ' master="false"'), "none is marked"), ((' master="true"',) * 2, "marks 2 as master")],
)
def test_several_models_are_named_where_none_is_meant_more_than_the_others(tmp_path, marks, says):
    with pytest.raises(ModelError) as told:
        read_network(two_models(tmp_path, *marks))
    (problem,) = told.value.problems
    assert says in problem.message and "a.xml, b.xml" in problem.message
    assert 'master="true"' in problem.message and problem.key == "manifest"


def test_a_model_that_is_listed_twice_is_one(tmp_path):
    line = '<content location="m.xml" format="http://identifiers.org/combine.specifications/sbml.level-3"/>'
    manifest = MANIFEST.replace("</omex", line + "</omex").replace(' master="true"', "")
    assert read_network(archive(tmp_path, ("m.xml", BASE), manifest=manifest)).species_ids == ("S1", "S2")
