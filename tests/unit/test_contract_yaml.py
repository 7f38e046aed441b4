"""YAML with places: what is read, and where each mistake is said to be."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from city_platform.contracts.yaml_lines import MAX_BYTES, MAX_DEPTH, read_yaml


def test_values_and_places() -> None:
    document, findings = read_yaml("a: 1\nb:\n  - x\n  - {c: true, 'd': \"2\"}\n", "f")
    assert findings == []
    assert document is not None
    assert document.value == {"a": 1, "b": ["x", {"c": True, "d": "2"}]}
    assert document.place(("b", 1, "d")) == (4, 20)
    assert document.key_place(("b", 1, "d")) == (4, 15)
    assert document.place(("b", 1, "missing")) == (4, 5)  # its nearest parent


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("Yes", "Yes"),
        ("010", "010"),
        ("2024-05-01", "2024-05-01"),
        ("12:30:45", "12:30:45"),
        ("1_000", "1_000"),
        ("0x1F", "0x1F"),
        ("+7", 7),
        ("-0.5", -0.5),
        ("1e3", 1000.0),
        ("~", None),
        ("'1'", "1"),
        ("9" * 5000, "9" * 5000),
        ("v3.2.0", "v3.2.0"),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    document, _ = read_yaml(f"a: {text}\n", "f")
    assert document is not None
    assert document.value == {"a": value}


@pytest.mark.parametrize(
    ("text", "line", "problem", "remedy"),
    [
        ("", 1, "the file is empty", "write the dataset's definition"),
        ("# only a comment\n", 1, "the file is empty", "write"),
        ("a: 1\nb:\n\tc: 2\n", 3, "a tab stands where", "indent with spaces"),
        ("a: @x\n", 1, "cannot start any token", "put the value in quotes"),
        ("a: 1\n b: 2\n", 2, "mapping values are not allowed", "indent the line like its neighbours"),
        ("a: 'x\n", 1, "unexpected end of stream", "close the quote"),
        ("a: [1, 2\nb: 3\n", 2, "flow sequence", "close the bracket"),
        ("- a\nb: 1\n", 2, "block collection", "indent the line"),
        ('a: "\\q"\n', 1, "unknown escape character", "use single quotes"),
        ("a: 1\nb: 2\na: 3\n", 3, "the key 'a' stands here again, first on line 1", "keep one"),
        ("a: &x 1\nb: *x\n", 2, "the alias *x", "write the value out"),
        ("a: &x [*x]\n", 1, "the alias *x", "write the value out"),
        ("a: !!python/object:os.system x\n", 1, "the tag", "write the plain value"),
        ("a: 1\n---\nb: 2\n", 2, "a second document", "remove it"),
        ("a: 1\n? [b]\n: c\n", 2, "a key is a list or mapping", "use a text"),
        ("a: 1\nb: \x07\n", 2, "U+0007", "remove the character"),
        ("a: \ud800\n", 1, "U+D800", "remove the character"),
        ("a: " + "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), 1, "nests too deep", f"at most {MAX_DEPTH}"),
        ("[" * 100_000, 1, "nests too deep", f"at most {MAX_DEPTH}"),
        ("a: " + "x" * MAX_BYTES, 0, "larger than 1,000,000 bytes", "one dataset"),
    ],
)
def test_mistakes(text: str, line: int, problem: str, remedy: str) -> None:
    _, (finding,) = read_yaml(text, "f")
    assert finding.file == "f"
    assert finding.line == line
    assert problem in finding.problem
    assert remedy in finding.remedy


def test_an_alias_that_multiplies_itself_costs_nothing() -> None:
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60))]
    _, findings = read_yaml("\n".join(lines), "f")
    assert len(findings) == 2 * 59


def test_the_first_of_two_equal_keys_keeps_value_and_place() -> None:
    document, _ = read_yaml("a:\n  x: 1\na:\n  x: 2\n  y: 3\n", "f")
    assert document is not None
    assert document.value == {"a": {"x": 1}}
    assert document.place(("a", "x")) == (2, 6)


@settings(max_examples=300)
@given(st.text(alphabet="ab:-?[]{}&*!|>'\"%@#, \n\t\\0~\ufeff\u2028", max_size=40))
def test_any_text_gives_a_value_or_findings_inside_the_file(text: str) -> None:
    document, findings = read_yaml(text, "f")
    assert document is not None or findings
    last = len(text.splitlines()) + 1
    assert all(0 <= finding.line <= last for finding in findings)
    if document is not None:
        assert all(1 <= line <= last and column >= 1 for line, column in document.values.values())
