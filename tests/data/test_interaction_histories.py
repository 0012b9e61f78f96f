"""Histories against the same rows arranged by hand, and their file."""

from collections import Counter

import numpy as np
import pytest

from recbole_mgr.data.interaction_histories import InteractionHistories
from recbole_mgr.data.interactions import Interactions

ROWS = [("u", "x", 3.0), ("v", "y", 1.0), ("u", "y", 1.0), ("v", "x", 1.0), ("u", "x", 2.0), ("w", "z", 0.5)]


def interactions(rows) -> Interactions:
    """As the reader gives them."""
    users, items, times = zip(*rows, strict=True)
    user_tokens, item_tokens = list(dict.fromkeys(users)), list(dict.fromkeys(items))
    return Interactions(
        user_tokens,
        item_tokens,
        np.array([user_tokens.index(user) for user in users], dtype=np.int32),
        np.array([item_tokens.index(item) for item in items], dtype=np.int32),
        np.array(times),
    )


def spoken(histories: InteractionHistories) -> dict[str, str]:
    """user -> items, oldest first."""
    starts = histories.starts.tolist()
    return {
        user: "".join(histories.item_tokens[item - 1] for item in histories.items[starts[row] : starts[row + 1]])
        for row, user in enumerate(histories.user_tokens, start=1)
    }


def test_users_and_items_are_numbered_as_they_come_in_time():
    histories = InteractionHistories.of(interactions(ROWS))
    assert (histories.user_tokens, histories.item_tokens) == (["w", "v", "u"], ["z", "y", "x"])
    assert spoken(histories) == {"w": "z", "v": "yx", "u": "yxx"}
    assert histories.times.tolist() == [0.5, 1, 1, 1, 2, 3]
    assert histories.order.tolist() == [0, 1, 3, 2, 4, 5]  # of equal times the file's order
    assert histories.lengths.tolist() == [1, 2, 3]


@pytest.mark.parametrize(("repeats", "of_u"), [(None, "xyx"), ("first", "xy"), ("last", "yx")])
def test_one_of_repeats_stays(repeats, of_u):
    histories = InteractionHistories.of(
        interactions([("u", "x", 1.0), ("u", "x", 3.0), ("u", "y", 2.0)]), repeats=repeats
    )
    assert spoken(histories) == {"u": of_u}


def test_counts_are_taken_until_nothing_changes():
    rng = np.random.default_rng(0)
    rows = [(f"u{rng.integers(12)}", f"i{rng.integers(12)}", float(time)) for time in range(80)]
    histories = InteractionHistories.of(interactions(rows), user_counts=lambda n: n >= 4, item_counts=lambda n: n >= 5)
    kept = rows
    while True:  # all at once, as RecBole does it
        users, items = Counter(row[0] for row in kept), Counter(row[1] for row in kept)
        fewer = [row for row in kept if users[row[0]] >= 4 and items[row[1]] >= 5]
        if len(fewer) == len(kept):
            break
        kept = fewer
    assert 0 < len(kept) < len(rows)
    expected = {user: "".join(item for other, item, _ in kept if other == user) for user, _, _ in kept}
    assert spoken(histories) == expected


def test_nothing_may_be_left():
    assert len(InteractionHistories.of(interactions(ROWS), user_counts=lambda n: n > 9)) == 0


def test_they_come_back_from_their_file(tmp_path):
    made = InteractionHistories.of(interactions([("é u", "x#1", 1.5), *ROWS]))
    made.save(tmp_path / "kept.safetensors")
    back = InteractionHistories.load(tmp_path / "kept.safetensors")
    assert (back.user_tokens, back.item_tokens) == (made.user_tokens, made.item_tokens)
    for name in ("starts", "users", "items", "times", "order"):
        assert getattr(back, name).equal(getattr(made, name)) and getattr(back, name).dtype == getattr(made, name).dtype
    for column, expected in zip(back.in_time_order(), made.in_time_order(), strict=True):
        assert column.tolist() == expected.tolist()
