import pytest
from raw_rows import ITEMS, QUICK, USERS, read

from recbole_mgr.preparation.pipeline import Settings, prepare


@pytest.fixture
def prepared(tmp_path, load_with_recbole):
    """Prepare a source, load it with RecBole, and return its folder."""

    def run(source, name="Out", **settings):
        settings = {"user_core": 2, "item_core": 2, "limits": QUICK, **settings}
        folder = prepare(source, Settings(name=name, output=tmp_path / "data", **settings), lambda _: None)
        dataset = load_with_recbole(folder)
        assert (dataset.user_num - 1, dataset.item_num - 1) == (USERS, ITEMS)
        assert dataset.inter_num == USERS * ITEMS
        inter = read(folder, "inter")
        for user in {row["user_id"] for row in inter}:
            items = [row["item_id"][-1] for row in inter if row["user_id"] == user]
            assert items == ["0", "1", "2", "3"]  # ties keep the order of the source
        return folder

    return run
