"""Hit rates on semantic IDs, counted by hand."""

import numpy as np

from recbole_mgr.integration.collector import Ranking
from recbole_mgr.run.id_level import id_level_metrics
from recbole_mgr.semantic_id.table import SemanticIdTable


def test_id_level_metrics_of_a_hand_made_world():
    blocks = {"text": np.array([[0, 0], [0, 0], [0, 1], [1, 1]]), "image": np.array([[0], [0], [1], [1]])}
    table = SemanticIdTable.from_blocks(blocks, ["a", "b", "c", "d"], transitions=True)  # a and b need the dedup digit
    assert [digit.kind for digit in table.digits] == ["code", "code", "transition", "code", "dedup"]
    ranking = Ranking(
        users=np.arange(4),
        targets=np.array([1, 4, 3, 4]),
        item_ids=np.array(
            [
                [2, 3, 4],  # b has the codes of the target a: first place for the whole ID and for either part
                [1, 2, 3],  # never d's ID nor text, but c has its image, in second place since a and b share theirs
                [1, 2, 3],  # the target c itself, whole and text in second place: a and b are one ID
                [1, 2, 0],  # neither; padding is no item
            ]
        ),
        repeated=np.zeros(4, dtype=bool),
    )
    assert id_level_metrics(ranking, table, topk=[1, 2]) == {
        "id@1": 0.25,
        "id@2": 0.5,
        "text@1": 0.25,
        "text@2": 0.5,
        "image@1": 0.25,
        "image@2": 0.75,
    }


def test_one_modality_needs_no_parts():
    table = SemanticIdTable.from_blocks({"text": np.array([[0], [1]])}, ["a", "b"])
    ranking = Ranking(
        users=np.arange(1), targets=np.array([2]), item_ids=np.array([[1, 2]]), repeated=np.zeros(1, dtype=bool)
    )
    assert id_level_metrics(ranking, table, topk=[1, 2]) == {"id@1": 0.0, "id@2": 1.0}
