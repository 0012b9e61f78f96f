"""Files of users and histories."""

import pytest

from recbole_mgr.serving.messages import Request
from recbole_mgr.serving.requests import count_entries, read_histories, read_tokens


def test_tokens_stand_one_a_line(tmp_path):
    (tmp_path / "users.txt").write_text("﻿ann\r\n\n with blank \nbob", encoding="utf-8")
    assert list(read_tokens(tmp_path / "users.txt")) == ["ann", "with blank", "bob"]


def test_histories_of_plain_lines(tmp_path):
    (tmp_path / "baskets.txt").write_text("a b\tc\n\n  d\n")
    assert list(read_histories(tmp_path / "baskets.txt")) == [Request("1", ["a", "b", "c"]), Request("3", ["d"])]


def test_a_part_of_the_entries_is_read_alone(tmp_path):
    (tmp_path / "baskets.jsonl").write_text('["a"]\n\n["b"]\r["c"]\nnot read')
    assert count_entries(tmp_path / "baskets.jsonl") == 4
    found = list(read_histories(tmp_path / "baskets.jsonl", range(1, 3)))
    assert found == [Request("3", ["b"]), Request("4", ["c"])]
    assert list(read_tokens(tmp_path / "baskets.jsonl", range(3, 9))) == ["not read"]


def test_histories_of_json_lines(tmp_path):
    (tmp_path / "baskets.jsonl").write_text('["a b", 7]\n\n{"history": ["c"], "user": 12}\n[]\n')
    found = list(read_histories(tmp_path / "baskets.jsonl"))
    assert found == [Request("1", ["a b", "7"]), Request("12", ["c"]), Request("4", [])]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[1, 2", "line 2: not JSON"),
        ('{"user": "a"}', r"line 2: the keys are \['user'\]"),
        ('"abc"', "line 2: the history is no list"),
        ("[1.5]", "line 2: the history is no list"),
        ("[true]", "line 2: the history is no list"),
        ('{"user": "a", "history": "b"}', "line 2: the history is no list"),
    ],
)
def test_a_malformed_line_is_named(tmp_path, line, message):
    (tmp_path / "baskets.jsonl").write_text(f'["a"]\n{line}\n')
    with pytest.raises(ValueError, match=message):
        list(read_histories(tmp_path / "baskets.jsonl"))


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(ValueError, match="none.txt does not exist"):
        list(read_tokens(tmp_path / "none.txt"))
    (tmp_path / "latin.txt").write_bytes("dörte".encode("latin-1"))
    with pytest.raises(ValueError, match="latin.txt: not UTF-8"):
        list(read_tokens(tmp_path / "latin.txt"))
