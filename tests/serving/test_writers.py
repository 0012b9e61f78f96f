"""What is written on the screen: columns that stay columns."""

from recbole_mgr.serving.messages import Recommendations
from recbole_mgr.serving.writers import Layout, open_writer

LONG = "B" * 64


def batch(users: list[str], item_id: str) -> Recommendations:
    count = len(users)
    return Recommendations(users, [[item_id]] * count, [[-1.5]] * count, [["A title"]] * count, [])


def test_long_ids_are_whole_and_move_their_column(capsys):
    with open_writer(None, Layout()) as write:
        write(batch(["u1", "u2"], "i1"))
        write(batch(["u3"], LONG))
        write(batch([LONG], "i1"))
    header, *rows = capsys.readouterr().out.splitlines()
    assert [row.split() for row in rows] == [
        [user, "1", item_id, "-1.5000", "A", "title"]
        for user, item_id in (("u1", "i1"), ("u2", "i1"), ("u3", LONG), (LONG, "i1"))
    ]
    places = [row.index("-1.5000") + len("-1.5000") for row in rows]
    assert places[:2] == [header.index("score") + len("score")] * 2
    assert places[2:] == [places[0] + 44, places[0] + 88]


def test_a_first_batch_of_long_ids_has_its_header_above_them(capsys):
    with open_writer(None, Layout()) as write:
        write(batch([LONG], LONG))
    header, row = capsys.readouterr().out.splitlines()
    assert header.index("item_id") == row.index(LONG, 1 + row.index("1"))
    assert header.index("title") == row.index("A title")
