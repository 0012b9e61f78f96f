"""YAML and JSON of strangers: what is odd or hostile is refused by name, before it takes memory."""

import json
import tracemalloc

import pytest
import yaml

from recbole_mgr.documents import DEEPEST, check_depth, read_json, read_yaml
from recbole_mgr.integration.config import PROPERTIES, read_config_files

LAUGHS = "a0: &a0 [lol]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 30))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [", "not valid YAML"),
        (b"a: \xff", "not valid YAML"),
        (b"- a\n- b\n", "expected 'key: value' lines, found a list"),
        (b"just words", "expected 'key: value' lines, found a str"),
        (b"", "expected 'key: value' lines, found a NoneType"),
        (b"a: 1\nb: 2\na: 3\n", "not valid YAML .*the key 'a' stands in line 1 and in line 3"),
        (b"a: {x: 1, x: 2}\n", "not valid YAML .*the key 'x' stands in line 1 and in line 1"),
        (b"1: a\n", "the key 1 is no word"),
        (b"a: 2020-13-45\n", "not valid YAML .*month must be"),
        (b"a: " + b"9" * 5000, "not valid YAML .*integer"),
        (b"a: !!python/object/apply:os.system [ls]\n", "not valid YAML .*could not determine a constructor"),
        (b"--- {a: 1}\n--- {a: 2}\n", "not valid YAML .*expected a single document"),
        (b"a: " + b"[" * 100 + b"]" * 100, "not valid YAML .*line 1: nested deeper than 50 levels"),
        (b"a: " + b"[" * 100_000, "not valid YAML .*(nested deeper|maximum nesting|block end)"),
        (b"a: &x [*x]\n", r"not valid YAML .*line 1: the alias \*x names nothing that stands whole before it"),
        (b"a: *nobody\n", r"not valid YAML .*the alias \*nobody names nothing"),
        (LAUGHS.encode(), "not valid YAML .*line 8: its aliases stand for more than 5,000,000 entries"),
    ],
)
def test_yaml_that_is_not_as_expected_is_refused_by_name(tmp_path, content, message):
    (tmp_path / "about.yaml").write_bytes(content)
    with pytest.raises(ValueError, match=f"(?s)about.yaml: {message}.*; copy it again"):
        read_yaml(tmp_path / "about.yaml", remedy="copy it again")


def test_a_yaml_bomb_takes_no_memory(tmp_path):
    (tmp_path / "laughs.yaml").write_text(LAUGHS)
    tracemalloc.start()
    with pytest.raises(ValueError, match="aliases"):
        read_config_files([str(tmp_path / "laughs.yaml")])
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_aliases_and_merged_keys_that_are_meant_are_read(tmp_path):
    shared = [1, 2]
    (tmp_path / "a.yaml").write_text(yaml.safe_dump({"a": shared, "b": shared}))
    assert "*" in (tmp_path / "a.yaml").read_text()
    assert read_yaml(tmp_path / "a.yaml", remedy="") == {"a": [1, 2], "b": [1, 2]}
    (tmp_path / "b.yaml").write_text("base: &base {x: 1, y: 2}\nown: {<<: *base, y: 3}\n")
    assert read_yaml(tmp_path / "b.yaml", remedy="")["own"] == {"x": 1, "y": 3}


def test_an_empty_yaml_file_may_be_an_empty_dictionary(tmp_path):
    (tmp_path / "about.yaml").write_text("# nothing\n")
    assert read_yaml(tmp_path / "about.yaml", remedy="", may_be_empty=True) == {}


def test_our_own_files_give_no_key_twice():
    for path in sorted(PROPERTIES.rglob("*.yaml")):
        read_yaml(path, remedy="", may_be_empty=True)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 60 + b"1" + b"}" * 60, b"9" * 5000]
)
def test_json_that_is_not_as_expected_is_refused_by_name(tmp_path, content):
    (tmp_path / "result.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"result\.json: not readable as JSON .*; copy it again"):
        read_json(tmp_path / "result.json", remedy="copy it again")
    with pytest.raises(ValueError, match=r"absent\.json: not readable as JSON"):
        read_json(tmp_path / "absent.json", remedy="")


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_depth_is_counted_level_by_level(opening):
    closing = "]" if opening == "[" else "}"
    nested = {depth: json.loads(opening * depth + "1" + closing * depth) for depth in (1, DEEPEST, DEEPEST + 2, 300)}
    check_depth(nested[1])
    check_depth(nested[DEEPEST])
    for depth in (DEEPEST + 2, 300):
        with pytest.raises(ValueError, match=f"nested deeper than {DEEPEST} levels"):
            check_depth(nested[depth])
