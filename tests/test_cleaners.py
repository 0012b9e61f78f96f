"""Hostile words come out harmless, each place by its own cleaner, and stay readable."""

import csv
import html
import io
import sys

import pytest

from recbole_mgr.cleaners import for_csv, for_html, for_markdown, for_terminal
from recbole_mgr.cli.main import main

HOSTILE = (
    "\x1b]0;owned\x07\x1b[2J\u202egnp.exe\u2066 a|b\n| forged | row |\r\n## forged <script>alert(1)</script> "
    "[click](javascript:x) ![see](http://x/y.png) `code` *bold* \\| \x00\u2028\ud800\ufeff"
)


def test_a_terminal_is_not_steered():
    shown = for_terminal(HOSTILE)
    assert shown.startswith("\\x1b]0;owned\\x07\\x1b[2J\\u202egnp.exe\\u2066 a|b | forged | row |  ## forged")
    assert shown.isprintable()
    assert shown.encode("utf-8")
    for harmless in ("Café, 9 × 12 cm – 日本語 עברית", "👩\u200d🔬", ""):
        assert for_terminal(harmless) == harmless


def test_a_line_of_markdown_stays_one_and_is_words():
    shown = for_markdown(HOSTILE)
    assert "\n" not in shown and "<" not in shown
    assert "a\\|b \\| forged \\| row \\|" in shown
    assert "](" not in shown.replace("\\](", "") and "\\`code\\`" in shown and "\\*bold\\*" in shown
    assert "\\\\\\|" in shown  # a backslash before a pipe does not free it
    assert for_markdown("TIGER (topk=[5, 10], train_batch_size=64)") == "TIGER (topk=[5, 10], train_batch_size=64)"


def test_html_is_words():
    shown = for_html(f'"{HOSTILE}')
    assert not {"<", ">", '"', "\x1b", "\n", "\u202e"} & set(shown)
    assert html.unescape(shown) == for_terminal(f'"{HOSTILE}')


@pytest.mark.parametrize(
    "formula", ["=cmd|' /C calc'!A0", "+1+cmd|x", "-2+3+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", "=1", "＝1"]
)
def test_no_cell_of_a_table_is_a_formula(formula):
    assert for_csv(formula) == f"'{formula}"
    buffer = io.StringIO()
    csv.writer(buffer).writerow([for_csv(formula)])
    assert next(csv.reader(io.StringIO(buffer.getvalue(), newline="")))[0][0] == "'"


@pytest.mark.parametrize("value", [-1.5, 3, None, "-1.5", "+0.0012", "-0.5 ± 0.1", "-3e-05", "a=b", "", "it's", "é"])
def test_numbers_and_other_words_stay(value):
    assert for_csv(value) == value


def test_a_terminal_that_knows_few_characters_stops_no_command(monkeypatch):
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding="ascii") for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    assert main(["größe\x1b[2J"]) == 2
    streams["stderr"].flush()
    said = streams["stderr"].buffer.getvalue().decode("ascii")
    assert said.startswith(r"error: 'gr\xf6\xdfe\x1b[2J' is no command")
