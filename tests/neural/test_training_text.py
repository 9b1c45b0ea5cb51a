"""The text of a training file: which YAML is read, and what is refused with its line."""

import os

import pytest

from neural.errors import TrainingError
from neural.strict_yaml import read
from neural.training import load_training


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"a: 1\nb: caf\xe9\n", 2),
        (b"a: 1\nb: 2\0\n", 2),
        (b"a: 1\n\nb: " + b"[" * 40 + b"]" * 40, 3),
        (b"a: 1\n" * 300000, 1),
        (b"a: 1\nb: '", 2),
    ],
)
def test_what_is_no_text_of_ours_has_its_line(tmp_path, content, line):
    file = tmp_path / "t.yaml"
    file.write_bytes(content)
    with pytest.raises(TrainingError) as caught:
        load_training(file)
    assert [p[1] for p in caught.value.problems] == [line]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("# only a comment\n", "empty"),
        ("- 1\n- 2\n", "must be a mapping"),
        ("a: 1\n---\nb: 2\n", "second document"),
        ("a: &x 1\nb: *x\n", "anchor not allowed"),
        ("a: !!python/object/apply:os.mkdir [PWNED]\n", "tag not allowed"),
        ("a: 1\na: 2\n", "given twice"),
        ("a: [1, 2\n", "not valid YAML"),
        ("a: " + "[" * 5000, "nested deeper"),
        ("a:\n\t- 1\n", "not valid YAML"),
    ],
)
def test_yaml_that_is_refused(text, message):
    with pytest.raises(TrainingError, match=message):
        read(text, "t.yaml")


def test_what_is_not_a_text_file_is_refused_without_blocking(tmp_path):
    os.mkfifo(tmp_path / "fifo.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    for path in (
        tmp_path / "fifo.yaml",
        tmp_path / "bytes.yaml",
        tmp_path,
        "/dev/zero",
        tmp_path / "no",
        "a\0b",
    ):
        with pytest.raises(TrainingError):
            load_training(path)


def test_yaml_numbers_are_numbers_and_words_are_words():
    content, lines = read("a: 1e-3\nb: 010\nc: yes\nd: '5'\ne:\n  f: 1.5\n", "t.yaml")
    assert content == {"a": 1e-3, "b": 10, "c": "yes", "d": "5", "e": {"f": 1.5}}
    assert lines["e.f"] == 6
