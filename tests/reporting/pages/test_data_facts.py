import numpy as np
import pytest

from recbole_mgr.reporting.pages.data_facts import CORES, cores, item_counts, over_time, read_data_interactions, targets

ROWS = [
    ("ann", "tea", 1), ("ann", "jam", 2), ("ann", "tea", 3),  # repeats an item, not that of the row before
    ("bob", "tea", 1), ("bob", "jam", 2), ("bob", "jam", 2),  # copies the row before
    ("cyd", "jam", 1), ("cyd", "jam", 5),  # the same item later
    ("dee", "jam", 9), ("dee", "fig", 8), ("dee", "nut", 10),  # nobody took the nut before; rows out of order
    ("eve", "jam", 1),  # no history, so no target
]  # fmt: skip


@pytest.fixture
def data(write_dataset, tmp_path):
    return read_data_interactions(write_dataset(tmp_path, interactions=ROWS), "tiny")


def test_targets(data):
    assert targets(data)._asdict() == {"users": 4, "repeats": 3, "copies": 2, "same_time": 1, "cold": 1}


def test_rows_are_in_time_order(data):
    own = data.users == data.user_tokens.index("dee")
    assert [data.item_tokens[item] for item in data.items[own]] == ["fig", "jam", "nut"]
    assert dict(zip(data.item_tokens, item_counts(data).tolist(), strict=True)) == {
        "tea": 3,
        "jam": 7,
        "fig": 1,
        "nut": 1,
    }


def test_cores_agree_with_their_definition(data):
    kept = {k: core[1:] for k, core in zip(CORES, cores(data), strict=True)}
    assert kept[1] == (5, 4, 12)
    assert kept[2] == (3, 2, 8)  # without fig and nut dee has one row, eve has one
    assert kept[3] == (2, 2, 6)
    assert kept[4] == (0, 0, 0)


def test_spans_hold_every_interaction(data):
    names, counts = over_time(data)
    assert len(names) == len(counts) == 48
    assert sum(counts) == len(ROWS)
    assert over_time(data._replace(times=np.ones(len(ROWS)))) is None


def test_a_file_without_rows_is_an_error(tmp_path):
    (tmp_path / "x.inter").write_text("user_id:token\titem_id:token\ttimestamp:float\n\ta\t1\n")
    with pytest.raises(ValueError, match="no row with user, item and time"):
        read_data_interactions(tmp_path, "x")
