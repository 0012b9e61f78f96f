"""New items find the known ones that they are like, and get as many places in lists as these."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from recbole_mgr.generation.beam_search import RankedList
from recbole_mgr.semantic_id.residual_kmeans import ResidualKMeans
from recbole_mgr.semantic_id.table import SemanticIdTable
from recbole_mgr.serving.known_content import KnownContent, read_content, save_content

KNOWN = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)


@pytest.mark.parametrize("joined", [0, 3])
def test_new_items_are_like_those_of_near_vectors(joined):
    content = KnownContent(lambda: {"text": KNOWN})
    new = {"text": np.stack([KNOWN[3], -KNOWN[3]]), "collaborative": np.zeros((2, 4))}  # the latter is no content
    found = content.likeness_of(new, joined).toarray()
    assert found.shape == (8 + joined + 2 + 1,) * 2
    cosine = (KNOWN @ KNOWN[3]) / np.linalg.norm(KNOWN, axis=1) / np.linalg.norm(KNOWN[3])
    for row, sign in ((-2, 1), (-1, -1)):
        squares = np.where(sign * cosine >= np.sort(sign * cosine)[-5], np.clip(sign * cosine, 0, None), 0) ** 2
        np.testing.assert_allclose(found[row, 1:9], squares / squares.sum(), atol=1e-5)
    assert not found[:-2].any() and not found[:, 9:].any()  # neither known items nor those that joined before


def test_collaborative_vectors_alone_are_no_content():
    assert KnownContent(dict).likeness_of({"collaborative": np.zeros((2, 4))}) is None


class Scores:
    """A network that scores items at random, and new ones ``lack`` less."""

    def __init__(self, num_items: int, lack: float) -> None:
        self.semantic_ids = SimpleNamespace(num_items=num_items)
        self.trie = SimpleNamespace(device=torch.device("cpu"), allow=lambda item_ids: item_ids)
        self.joins_scores, self.max_seq_length, self.ITEM_SEQ, self.ITEM_SEQ_LEN = True, 5, "items", "length"
        self.scores = torch.randn(num_items + 1, num_items + 1, generator=torch.Generator().manual_seed(0))
        self.lack = lack

    def joining(self, likeness) -> torch.Tensor:
        return torch.from_numpy(likeness.getnnz(axis=1) > 0).float()

    def generate(self, interaction, k, *, exclude, allowed_items, joined) -> RankedList:
        assert torch.equal(exclude, interaction["items"])
        scores = self.scores[interaction["items"][:, 0]] - self.lack * joined
        best = scores.scatter(1, exclude, -torch.inf)[:, allowed_items].topk(k)
        return RankedList(allowed_items[best.indices], best.values)


@pytest.mark.parametrize("lack", [0.0, 2.5, -1.0])
def test_the_offset_is_what_new_items_lack(lack):
    network = Scores(600, lack)
    vectors = np.random.default_rng(1).normal(size=(600, 4))
    content = KnownContent(lambda: {"text": vectors})
    assert content.offset(network) == pytest.approx(max(0, lack), abs=0.1)
    network.lack = 9.0
    assert content.offset(network) == pytest.approx(max(0, lack), abs=0.1)  # measured once


def test_nothing_is_added_where_scores_are_not_summed_or_nothing_is_measured():
    network = Scores(30, 1.0)
    network.joins_scores = False
    assert KnownContent(lambda: {"text": KNOWN}).offset(network) == 0
    assert KnownContent(dict).offset(Scores(30, 1.0)) == 0
    assert KnownContent(lambda: {"text": KNOWN[:1]}).offset(Scores(1, 1.0)) == 0


@pytest.fixture
def world():
    """Eight items with codes of two levels: tokenizer and table."""
    quantizer = ResidualKMeans(levels=2, codebook_size=3, seed=1).fit(KNOWN)
    table = SemanticIdTable.from_blocks({"text": quantizer.encode(KNOWN)}, [*"abcdefgh"], sizes={"text": [3, 3]})
    return SimpleNamespace(quantizers={"text": quantizer}), table


def test_content_is_kept_with_length_one(tmp_path, world):
    vectors = KNOWN.copy()
    vectors[0] = 0
    save_content(path := tmp_path / "content.npz", {"text": vectors * 100, "collaborative": np.ones((8, 2))})
    found = read_content(path, *world)
    assert list(found) == ["text"] and found["text"].dtype == np.float16
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(found["text"], vectors / np.maximum(lengths, 1e-9), atol=1e-3)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"text": KNOWN[:7]}, "not the vectors of this run's items"),
        ({"text": KNOWN[:, :1]}, "not the vectors of this run's items"),
        ({"text": KNOWN[0]}, "not the vectors of this run's items"),
        ({"image": KNOWN}, "not the vectors of this run's items"),
        ({"text": KNOWN * np.nan}, "the text vectors are no finite numbers"),
        ({"text": KNOWN.astype(str)}, "the text vectors are no finite numbers"),
    ],
)
def test_content_that_is_not_that_of_the_run_is_refused(tmp_path, world, arrays, message):
    np.savez(tmp_path / "content.npz", **arrays)
    with pytest.raises(ValueError, match=f"content.npz: {message}.*; copy the run directory again"):
        read_content(tmp_path / "content.npz", *world)


def test_codes_speak_for_items_where_no_content_was_kept(tmp_path, world):
    quantizer = world[0].quantizers["text"]
    found = read_content(tmp_path / "content.npz", *world)
    np.testing.assert_array_equal(found["text"], quantizer.reconstruct(quantizer.encode(KNOWN)))
