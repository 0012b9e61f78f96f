"""The memory of a generating model: what it has seen, and what it gives new items."""

import numpy as np
import pytest
import torch
from prior_world import NUM_ITEMS, World
from scipy import sparse

from recbole_mgr.generation.item_memory import Counts, FittedMemory, MemorySettings
from recbole_mgr.generation.ridge import largest_of_rows
from recbole_mgr.model.memory import MemoryPrior, item_likeness


def test_the_memory_has_seen_training_interactions_alone(make_prior_world):
    world = make_prior_world(memory=True, memory_options={"content_weight": 0, "max_entries": NUM_ITEMS + 1})
    dataset = world.train._dataset
    users, histories = world.batch["user_id"].tolist(), world.batch["item_id_list"].tolist()
    sequences = dataset.training_sequences
    for user, history in zip(users, histories, strict=True):  # the test history less the validation item
        own = slice(*sequences.starts[user : user + 2])
        assert sequences.item_ids[own].tolist() == [item for item in history if item][:-1]
    settings = MemorySettings(max_entries=None)
    plain = FittedMemory.fit(Counts.of(sequences, NUM_ITEMS, settings), settings).weights
    found = torch.zeros_like(plain).scatter(1, world.model.memory.targets.long(), world.model.memory.weights)
    torch.testing.assert_close(found, plain)


@pytest.mark.parametrize("entries", [6, 2])
def test_new_items_get_what_those_like_them_have(entries):
    generator = np.random.default_rng(0)
    known = generator.normal(size=(7, 7)) * (generator.random((7, 7)) < 0.4)
    known[0] = known[:, 0] = known[5:] = known[:, 5:] = 0  # items 5 and 6 are new
    likeness = np.zeros((7, 7))
    likeness[5, [1, 2]], likeness[6, 4] = [0.7, 0.3], 1.0
    memory = MemoryPrior(6, MemorySettings(max_entries=entries), 0.003)
    weights, targets = largest_of_rows(sparse.csr_matrix(known), entries)
    memory.weights.copy_(weights), memory.targets.copy_(targets)
    known = np.zeros((7, 7))
    np.add.at(known, (np.arange(7)[:, None], targets.numpy()), weights.numpy())
    memory = memory.with_new_items(sparse.csr_matrix(likeness))
    found = np.zeros((7, 7))
    np.add.at(found, (np.arange(7)[:, None], memory.targets.numpy()), memory.weights.numpy())
    others = known - np.diag(known.diagonal())  # what an item says of itself is not passed on

    def of_alike(rows):  # means of the rows of those alike, as long as these are on average
        means = likeness @ rows
        lengths = np.maximum(np.linalg.norm(means, axis=1), 1e-12)
        return means * (likeness @ np.linalg.norm(rows, axis=1) / lengths)[:, None]

    following = of_alike(others.T).T
    expected = known + following + of_alike(others + following)
    smallest = -np.sort(-np.abs(expected), axis=1)[:, entries - 1 : entries]
    np.testing.assert_allclose(found, np.where(np.abs(expected) >= smallest, expected, 0), atol=1e-6)


def test_what_a_memory_knew_of_items_that_count_as_new_is_forgotten():
    generator = np.random.default_rng(1)
    known = np.pad(generator.normal(size=(6, 6)), (1, 0))
    without = known.copy()
    without[5:] = without[:, 5:] = 0
    likeness = np.zeros((7, 7))
    likeness[5, [1, 2]], likeness[6, 4] = [0.7, 0.3], 1.0
    found = []
    for matrix in (known, without):
        memory = MemoryPrior(6, MemorySettings(max_entries=7), 0.003)
        memory.weights.copy_(torch.from_numpy(matrix)), memory.targets.copy_(torch.arange(7))
        memory = memory.with_new_items(sparse.csr_matrix(likeness))
        found.append(torch.zeros(7, 7).scatter(1, memory.targets.long(), memory.weights))
    torch.testing.assert_close(*found)


def test_content_is_read_as_the_data_are_written(tmp_path, write_dataset, tiny_settings):
    data = write_dataset(tmp_path)
    (data / "tiny.inter").write_text((data / "tiny.inter").read_text().replace("\t", ","))
    for modality in ("text", "image"):
        vectors, tokens = np.load(data / f"tiny.{modality}.npy"), (data / f"tiny.{modality}.ids").read_text().split()
        rows = [f"{token},{' '.join(map(str, row))}" for token, row in zip(tokens, vectors, strict=True)]
        header = f"{modality}_item_id:token,{modality}_vector:float_seq"
        (data / f"tiny.{modality}").write_text("\n".join([header, *rows]) + "\n")
        (data / f"tiny.{modality}.npy").unlink()
    world = World(tiny_settings(tmp_path, n_layers=1, field_separator=",", memory=True), "MGRLF")
    np.testing.assert_allclose(item_likeness(world.train._dataset).sum(axis=1).A1[1:], 1.0, rtol=1e-5)


def test_content_is_what_the_items_vectors_say(make_prior_world):
    world = make_prior_world(memory=True)
    likeness = item_likeness(world.train._dataset)
    np.testing.assert_allclose(likeness.sum(axis=1).A1[1:], 1.0, rtol=1e-5)
