"""Weights files: what is refused, and that it is refused before anything of the file is believed."""

import json
import os
import pickle
import struct
import subprocess
import sys

import numpy as np
import pytest

from neural import weights
from neural.errors import WeightsError
from neural.response import ResponseNetwork

TENSORS = {"a": np.arange(6, dtype=np.float64).reshape(2, 3), "b": np.float32([1.5])}
CARD = {"kind": "network", "name": "x", "architecture": {}}


@pytest.fixture
def good(tmp_path):
    weights.save(tmp_path / "good.safetensors", TENSORS, CARD)
    return tmp_path / "good.safetensors"


def _rewrite(path, change):
    """Apply `change(header, data) -> data` to a file's parts and write them back."""
    blob = path.read_bytes()
    (n,) = struct.unpack("<Q", blob[:8])
    header, data = json.loads(blob[8 : 8 + n]), bytearray(blob[8 + n :])
    data = change(header, data) or data
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(data))


def test_round_trip_and_same_bytes(good, tmp_path):
    card, tensors = weights.load(good, "network")
    assert card.name == "x" and card.kind == "network"
    for key, value in TENSORS.items():
        assert tensors[key].dtype == value.dtype
        np.testing.assert_array_equal(tensors[key], value)
    weights.save(tmp_path / "again.safetensors", dict(reversed(TENSORS.items())), CARD)
    assert (tmp_path / "again.safetensors").read_bytes() == good.read_bytes()


def test_safetensors_itself_reads_it(good):
    from safetensors.numpy import load_file

    np.testing.assert_array_equal(load_file(good)["a"], TENSORS["a"])


class _Bomb:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (os.mkdir, (str(self.target),))


@pytest.mark.parametrize("suffix", [".pkl", ".pt", ".pth", ".safetensors"])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_pickle_is_refused_and_not_run(tmp_path, suffix, protocol):
    target = tmp_path / "PWNED"
    path = tmp_path / f"w{suffix}"
    path.write_bytes(pickle.dumps(_Bomb(target), protocol))
    with pytest.raises(WeightsError, match="never loaded"):
        weights.read_card(path)
    assert not target.exists()


def test_zipped_torch_file_is_refused(tmp_path):
    import torch

    torch.save({"a": torch.ones(2)}, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"zipped pickle"):
        weights.read_card(tmp_path / "w.safetensors")


def test_every_truncation_is_refused(good):
    blob = good.read_bytes()
    for n in [*range(0, len(blob) - 1, 37), len(blob) - 1]:
        good.write_bytes(blob[:n])
        with pytest.raises(WeightsError):
            weights.read_card(good)


def test_every_flipped_byte_of_the_numbers_is_seen(good):
    blob = bytearray(good.read_bytes())
    (n,) = struct.unpack("<Q", blob[:8])
    for at in range(8 + n, len(blob)):
        changed = bytearray(blob)
        changed[at] ^= 1
        good.write_bytes(changed)
        with pytest.raises(WeightsError, match="checksum"):
            weights.read_card(good)


def test_nan_is_refused_in_reading_and_writing(good):
    def plant(_header, data):
        data[:8] = struct.pack("<d", float("nan"))

    _rewrite(good, plant)
    with pytest.raises(WeightsError, match="NaN"):
        weights.read_card(good)
    with pytest.raises(WeightsError, match="NaN"):
        weights.save(good, {"a": np.array([np.inf])}, CARD)


def test_shape_and_type_must_be_the_cards(good):
    def reshape(header, _data):
        header["a"]["shape"] = [3, 2]

    _rewrite(good, reshape)
    with pytest.raises(WeightsError, match=r"'a' is F64 \[3, 2\] but the card says F64 \[2, 3\]"):
        weights.read_card(good)


def test_bytes_must_fit_the_shape(good):
    def stretch(header, _data):
        header["a"]["shape"] = [200, 3]

    _rewrite(good, stretch)
    with pytest.raises(WeightsError, match="do not fit"):
        weights.read_card(good)


def test_bytes_of_no_tensor_are_refused(good):
    good.write_bytes(good.read_bytes() + b"extra")
    with pytest.raises(WeightsError, match="belong to no tensor"):
        weights.read_card(good)


def test_safetensors_without_card_is_refused(tmp_path):
    from safetensors.numpy import save_file

    save_file({"a": np.ones(2)}, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="no card"):
        weights.read_card(tmp_path / "w.safetensors")


@pytest.mark.parametrize("make", ["missing", "folder", "fifo", "device", "nul"])
def test_what_is_not_a_file_is_refused_without_blocking(tmp_path, make):
    path = tmp_path / "w.safetensors"
    if make == "folder":
        path.mkdir()
    elif make == "fifo":
        os.mkfifo(path)
    elif make == "device":
        path = "/dev/zero"
    elif make == "nul":
        path = "a\0b.safetensors"
    with pytest.raises(WeightsError):
        weights.read_card(path)


@pytest.mark.parametrize("text", [b"<html>not found</html>", b"\xff" * 64, b"{}", b"\x02\0\0\0\0\0\0\0[]"])
def test_other_contents_are_refused(tmp_path, text):
    path = tmp_path / "w.safetensors"
    path.write_bytes(text)
    with pytest.raises(WeightsError):
        weights.read_card(path)


def test_a_misspelt_file_is_told_by_its_nearest_name(good):
    with pytest.raises(WeightsError, match=r"did you mean 'good.safetensors'\?"):
        weights.read_card(good.with_name("god.safetensors"))
    with pytest.raises(WeightsError) as caught:
        weights.read_card(good.with_name("else.safetensors"))
    assert "did you mean" not in str(caught.value)


def test_another_kind_is_named(good):
    with pytest.raises(WeightsError, match="kind 'network', but a 'tissue'"):
        weights.load(good, "tissue")


def test_reading_a_card_imports_nothing_heavy(good):
    code = (
        "import sys; from neural.weights import read_card; read_card(sys.argv[1]);"
        "print([m for m in ('torch', 'torch_geometric', 'xarray', 'scipy', 'pandas') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code, str(good)], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_response_network_round_trip_and_place_independence(tmp_path):
    rng = np.random.default_rng(5)
    net = ResponseNetwork(rng.normal(size=(1, 7)), rng.normal(size=7), rng.normal(size=7), 0.3, 2.0, 1e-3)
    net.save(tmp_path / "r.safetensors")
    again = ResponseNetwork.load(tmp_path / "r.safetensors")
    x = rng.normal(size=1003)
    y = again(x)
    np.testing.assert_array_equal(y, net(x))
    order = rng.permutation(len(x))
    np.testing.assert_array_equal(again(x[order]), y[order])
    np.testing.assert_array_equal(np.concatenate([again(x[i : i + 1]) for i in range(20)]), y[:20])
    with pytest.raises(ValueError, match="takes 1 inputs"):
        again(np.ones((3, 2)))


@pytest.mark.parametrize("size", [0x280, 0x380, 0x480, 0x580])
def test_a_header_whose_length_begins_like_a_pickle_is_read(tmp_path, size):
    path, name, length = tmp_path / "w.safetensors", "x", 0
    while length < size:
        weights.save(path, {"a": np.zeros(2)}, {**CARD, "name": name})
        length = int.from_bytes(path.read_bytes()[:8], "little")
        name += "x"
    assert length == size and path.read_bytes()[:2] == bytes([0x80, size >> 8])
    assert weights.read_card(path).name == name[:-1]
