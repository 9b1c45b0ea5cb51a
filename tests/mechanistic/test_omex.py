"""COMBINE archives: the model inside is read, and nothing else can happen."""

from __future__ import annotations

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
