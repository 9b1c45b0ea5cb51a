"""Model files that something garbled: each is read, or refused in lines that can be printed. None ends the parser.

The garbling is drawn from a seed: a piece of text lost or doubled, an attribute with a value out of place, two ids
that change places, a byte that is no text, an element in the wrong place.
"""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from mechanistic.errors import ModelError
from mechanistic.sbml import read_network

pytestmark = pytest.mark.validation
MODELS = sorted((Path(__file__).resolve().parents[2] / "scenarios" / "models").glob("*.xml"))
VALUES = [
    "NaN",
    "-INF",
    "1e999",
    "1,5",
    "",
    " 2 ",
    "-1",
    "0x10",
    "1_0",
    "yes",
    "time",
    "a b",
    "\u202ex",
    "x" * 300,
]


def garbled(text: str, seed: int) -> bytes:
    draw = random.Random(seed)
    at = draw.randrange(len(text))
    end = at + draw.choice([1, 3, 30, 400])
    kind = draw.randrange(6)
    if kind == 0:
        return (text[:at] + text[end:]).encode()
    if kind == 1:
        return (text[:end] + text[at:end] + text[end:]).encode()
    if kind == 2:
        attribute = draw.choice(list(re.finditer(r'="([^"]*)"', text)))
        return (text[: attribute.start(1)] + draw.choice(VALUES) + text[attribute.end(1) :]).encode()
    if kind == 3:
        first, second = draw.sample(sorted(set(re.findall(r'\bid="(\w+)"', text))), 2)
        return re.sub(rf"\b{first}\b", second, text, count=draw.choice([1, 2, 0])).encode()
    if kind == 4:
        data = bytearray(text.encode())
        data[draw.randrange(len(data))] = draw.randrange(256)
        return bytes(data)
    first, second = draw.sample(list(re.finditer(r"<(\w+)[^<>]*/>", text)), 2)
    return (text[: first.start()] + second[0] + text[first.end() :]).encode()


@pytest.mark.parametrize("seed", range(150))
def test_garbled(seed, tmp_path):
    file = tmp_path / "model.xml"
    model = MODELS[seed % len(MODELS)]
    file.write_bytes(garbled(model.read_text(), seed))
    try:
        network = read_network(file)
    except ModelError as error:
        lines = [p.message for p in error.problems]
        assert lines
        assert all(line.isprintable() and "the parser failed" not in line for line in lines)
    else:
        assert network.species_ids


@pytest.mark.parametrize("encoding", ["UTF-32", "utf-7", "EBCDIC-CP-US", "nosuch", "shift_jis"])
def test_encodings_that_are_not_read(encoding, tmp_path):
    file = tmp_path / "model.xml"
    text = re.sub('encoding="[^"]*"', f'encoding="{encoding}"', MODELS[0].read_text(), count=1)
    assert encoding in text
    file.write_text(text)
    with pytest.raises(ModelError) as refused:
        read_network(file)
    (problem,) = refused.value.problems
    assert "encoding" in problem.message
