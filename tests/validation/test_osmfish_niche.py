"""osmFISH mouse cortex (Codeluppi et al. 2018): what the niche tells of expression beyond type and region.

The split: cells with a type and a region (4,839); squares of 500 um from the lower left corner, put into five folds by
`numpy.random.default_rng(seed).permutation` of the squares' numbers, modulo 5; no edge between squares.
"""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from neural.tissue.niche import Sample, cross_validated, spatial_blocks

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "tissue" / "osmfish-cortex.tar.gz"
PIXEL = 0.065  # um

pytestmark = [
    pytest.mark.validation,
    pytest.mark.skipif(not DATA.is_file(), reason=f"needs {DATA.name}, which is not shipped"),
]


@pytest.fixture(scope="module")
def cortex():
    with tarfile.open(DATA) as archive:
        files = {Path(m.name).name: archive.extractfile(m).read().decode() for m in archive if m.isfile()}
    table = files["osmFISH_prep_expression.txt"].splitlines()
    cells = table[0].split("\t")
    counts = np.loadtxt(io.StringIO("\n".join(row.split("\t", 1)[1] for row in table[1:])), delimiter="\t").T
    words = {
        r.split("\t")[0]: r.split("\t") for r in files["osmFISH_prep_cell_metadata.txt"].splitlines()[1:]
    }
    places = {
        r.split()[0]: r.split()[1:] for r in files["osmFISH_prep_cell_coordinates.txt"].splitlines()[1:]
    }
    types, regions = (np.array([words.get(c, [""] * 4)[k] for c in cells]) for k in (1, 3))
    kept = ~np.isin(types, ["Excluded", ""]) & ~np.isin(regions, ["Excluded", ""])
    where = PIXEL * np.array([places[c] for c in cells], float)
    return Sample(np.log1p(counts)[kept], types[kept], regions[kept], where[kept])


def test_the_split_is_the_one_described(cortex):
    assert len(cortex.types) == 4839 and cortex.expression.shape[1] == 33
    block, fold = spatial_blocks(cortex.positions, 500.0, 5, 0)
    assert block.max() + 1 == 19
    assert np.bincount(fold).tolist() == [855, 545, 964, 1251, 1224]


@pytest.mark.parametrize("seed", [0, 1])
def test_the_niche_gains_and_its_shuffle_does_not(cortex, seed):
    scores = cross_validated(cortex, 69.0, size=500.0, seed=seed, shuffles=2)
    assert scores["type, region, niche"]["gain"] >= 0.05
    assert scores["type, region, niche by plain means"]["gain"] >= 0.05
    assert scores["type, region, niche shuffled"]["gain"] <= 0
    linear = scores["type, neighbours' types (linear, no region)"]["gain"]
    assert linear == pytest.approx(0.035, abs=0.01)
    assert scores["type, region, niche"]["gain"] > linear
