"""Section A of the catalogue: the scenario file as text."""

from __future__ import annotations

import pytest

from sim.errors import ScenarioError
from sim.scenario.yaml_text import plain_value, read_yaml
from sim.scenario.yaml_write import write_yaml


def refused(content: bytes | str, file: str = "f.yaml") -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        read_yaml(content.encode() if isinstance(content, str) else content, file)
    return caught.value.lines()


CASES = {
    "empty": ("", 1, "the file is empty"),
    "blank": ("\n \n", 1, "the file is empty"),
    "comment": ("# nothing\n", 1, "the file is empty"),
    "null document": ("--- ~\n", 1, "the file is empty"),
    "scalar": ("hello", 1, "the top level must be a mapping"),
    "list": ("- 1\n- 2\n", 1, "the top level must be a mapping"),
    "web page": ("<html>404</html>", 1, "this looks like a web page"),
    "two documents": ("a: 1\n---\na: 1\n", 2, "a second document"),
    "alias": ("a: 1\nb: *nope\n", 2, "aliases are not accepted (got *nope)"),
    "anchor": ("a: 1\nb: &x [1]\n", 2, "anchors and aliases are not accepted (got &x)"),
    "merge": ("a: {<<: {b: 1}}\n", 1, "merge keys"),
    "own tag": ("a: !Foo 1\n", 1, "tags are not accepted"),
    "python tag": ("a: !!python/object/apply:os.system ['touch PWNED']\n", 1, "tags are not accepted"),
    "directive": ("%YAML 1.1\n---\na: 1\n", 1, "directives are not accepted"),
    "tab": ("a:\n\tk: 1\n", 2, "a tab is used for indentation"),
    "NUL": ("a: 1\nb: x\0y\n", 2, "a NUL character"),
    "bidi": ("a: 1\n\u202eevil: 1\n", 2, "U+202E"),
    "line separator": ("a: 1\u2028b: 2\n", 1, "U+2028"),
    "surrogate escape": ('a: "\\ud800"\n', 1, "an escape that is no character"),
    "beyond Unicode": ('a: "\\U00110000"\n', 1, "an escape that is no character"),
    "open quote": ("a: 1\nb: 'abc\n", 3, "a quoted text is not closed"),
    "open list": ("a: [1, 2\n", 2, "is not closed"),
    "cut short": ("a: 1\nb: {c: {", 2, "may be cut short"),
    "key that is a list": ("? [a]\n: 1\n", 1, "a key must be text"),
    "deep": ("a: " + "[" * 40 + "]" * 40, 1, "nested deeper than 32 levels"),
    "very deep": ("a: " + "[" * 30000, 1, "nested deeper than 32 levels"),
    "long line": ("a: 1\nb: '" + "x" * 70000 + "'\n", 2, "longer than 64 KiB"),
    "many keys": ("".join(f"q{i}: 1\n" for i in range(11000)), 10001, "more than 10000 keys"),
    "many values": ("a: [\n" + ("1," * 20000 + "\n") * 4 + "]", 4, "more than 50000 values"),
    "long integer": ("a: 99999999999999999999\n", 1, "19 digits"),
}


@pytest.mark.parametrize("case", CASES)
def test_refused_with_its_line(case: str):
    content, line, message = CASES[case]
    (text,) = refused(content)
    assert text.startswith(f"cellweave: error: f.yaml:{line}: ")
    assert message in text


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        ("a: 1\n".encode("utf-16"), 1, "UTF-16"),
        ("a: 1\nb: caf\xe9\n".encode("latin-1"), 2, "not UTF-8 (got byte 0xe9)"),
        (b"a: 1\n" * 300_000, 1, "larger than 1 MiB"),
    ],
)
def test_bytes_that_are_refused(content: bytes, line: int, message: str):
    (text,) = refused(content)
    assert text.startswith(f"cellweave: error: f.yaml:{line}: ")
    assert message in text


def test_duplicate_keys_name_both_lines_and_all_are_told():
    lines = refused("a: 1\nb: {c: 1,\n c: 2}\na: 3\n")
    assert [t.split(": ", 2)[2] for t in lines] == [
        "f.yaml:3: b.c: duplicate key 'c' on line 3; it is already on line 2",
        "f.yaml:4: a: duplicate key 'a' on line 4; it is already on line 1",
    ]


def test_control_characters_in_keys_are_printed_escaped():
    document = read_yaml(b'"\\e[31mred\\a": 1\n', "f.yaml")
    assert list(document.data) == ["\x1b[31mred\a"]
    lines = refused('"\\e[31mred": 1\n"\\e[31mred": 2\n')
    assert "\x1b" not in lines[0] and "\\x1b[31mred" in lines[0]


@pytest.mark.parametrize(
    "content", [b"\xef\xbb\xbfa: 1\r\nb: x\r\n", b"a: 1\rb: x", b"%YAML 1.2\n---\na: 1\nb: x\n...\n"]
)
def test_byte_order_mark_and_line_ends_are_accepted(content: bytes):
    assert read_yaml(content, "f.yaml").data == {"a": 1, "b": "x"}


def test_core_schema():
    kept = ["010", "1:30", "yes", "No", "on", "0x1f", "0o17", "1_000", "2020-01-01", "1e", "-", "00.1"]
    assert [plain_value(text) for text in kept] == kept
    numbers = {
        "1e-3": 1e-3,
        "1e5": 1e5,
        "+1": 1,
        "-0": 0,
        ".5": 0.5,
        "1.": 1.0,
        "-.inf": float("-inf"),
        "0": 0,
    }
    assert {text: plain_value(text) for text in numbers} == numbers
    assert plain_value(".nan") != plain_value(".nan")
    assert [plain_value(t) for t in ("true", "False", "null", "~", "")] == [True, False, None, None, None]
    assert plain_value(str(2**64 - 1)) == 2**64 - 1


def test_quoted_scalars_stay_text():
    document = read_yaml(b"a: '1'\nb: \"null\"\nc: |\n  2\n", "f.yaml")
    assert document.data == {"a": "1", "b": "null", "c": "2\n"}


def test_marks_name_the_line_of_keys_and_values():
    document = read_yaml(b"a:\n  b:\n    - x\n    - {c: 1,\n       d:\n         2}\n", "f.yaml")
    lines = {path: document.line(path) for path in [("a",), ("a", "b"), ("a", "b", 0), ("a", "b", 1, "d")]}
    assert lines == {("a",): 1, ("a", "b"): 2, ("a", "b", 0): 3, ("a", "b", 1, "d"): 6}
    assert document.key_line(("a", "b", 1, "d")) == 5
    assert document.line(("a", "no", "such")) == 1
    assert document.marks[("a", "b", 1, "c")].column == 11


def test_written_text_reads_back():
    data = {
        "text": [
            "plain",
            "1e5",
            "010",
            "yes",
            "null",
            "",
            "a: b",
            "# no",
            "~",
            " x",
            "é\n\u2028",
            "0.1 /min",
            "-",
            "-x",
            "*a",
        ],
        "numbers": [1, -2.5, 1e-300, 1e22, 2**64 - 1, True, False],
        "empty": {"list": [], "mapping": {}},
        "nested": [{"a": [{"b": [1, [2]]}]}],
        "12": "odd key",
    }
    assert read_yaml(write_yaml(data).encode(), "f.yaml").data == data
