"""The hierarchical backbone on a catalogue of eight items, against loops over users, positions and digits."""

import numpy as np
import pytest
import torch
from whole_programs import assert_loss_compiles_as_a_whole, assert_search_compiles_as_a_whole

from recbole_mgr.generation.trie import PrefixTrie
from recbole_mgr.model.backbone.hierarchical import HierarchicalBackbone
from recbole_mgr.semantic_id.table import SemanticIdTable

BLOCKS = {
    "text": np.array([[0, 0], [0, 1], [0, 1], [1, 0], [1, 1], [2, 1], [2, 0], [2, 0]]),
    "image": np.array([[2, 0], [0, 1], [0, 1], [1, 1], [1, 1], [0, 0], [0, 0], [1, 0]]),  # items 2 and 3 collide
    "audio": np.array([[0, 0], [1, 0], [1, 0], [0, 1], [1, 1], [0, 0], [2, 1], [0, 0]]),
}
N = 8
HISTORY = torch.tensor(
    [[3, 1, 2, 0, 0, 0], [6, 0, 0, 0, 0, 0], [1, 2, 3, 4, 8, 7], [2, 2, 5, 0, 0, 0], [4, 6, 0, 0, 0, 0]]
)
LENGTHS = torch.tensor([3, 1, 6, 3, 2])
TARGETS = torch.tensor([4, 1, 5, 6, 2])
SMALLEST = dict(hidden_size=8, num_layers=1, num_heads=1, inner_size=8, dropout=0.0, attention_dropout=0.0)


def table_of(*modalities: str, transitions: bool = True) -> SemanticIdTable:
    blocks = {modality: BLOCKS[modality] for modality in modalities}
    return SemanticIdTable.from_blocks(blocks, list("abcdefgh"), transitions=transitions)


def build(
    *modalities: str, code_softmax: str = "legal", dropout: float = 0.0, transitions: bool = True, **options
) -> HierarchicalBackbone:
    table = table_of(*(modalities or ("text", "image")), transitions=transitions)
    torch.manual_seed(0)
    backbone = HierarchicalBackbone(
        table=table,
        trie=PrefixTrie(table.codes[1:], table.sizes),
        code_softmax=code_softmax,
        max_length=7,
        hidden_size=16,
        num_layers=2,
        num_heads=2,
        inner_size=32,
        dropout=dropout,
        attention_dropout=dropout,
        **options,
    )
    for parameter in backbone.parameters():  # embeddings and biases begin close to nothing
        if parameter.dim() == 1 or parameter.std() < 0.05:
            torch.nn.init.normal_(parameter, mean=float(parameter.mean().round()), std=0.5)
    return backbone.eval()


@torch.no_grad()
def log_probs(backbone: HierarchicalBackbone, history: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """[B, N] by a loop over items and digits; the legal codes are found by comparing prefixes with every item's."""
    scores = torch.zeros(len(history), N)
    for item in range(1, N + 1):
        item_ids = torch.full((len(history),), item)
        codes, state, chosen, parents = backbone.codes[item], backbone.start(history, lengths), None, None
        for digit, code in enumerate(codes):
            nodes = backbone.trie.path(item_ids)[:, digit : digit + 1]
            logits, state = backbone.step(digit, nodes, chosen, parents, state)
            siblings = backbone.codes[1:][(backbone.codes[1:, :digit] == codes[:digit]).all(dim=1), digit].unique()
            legal = siblings if backbone.code_softmax == "legal" else torch.arange(logits.shape[-1])
            logits = logits[:, 0]
            scores[:, item - 1] += logits[:, code] - logits[:, legal].logsumexp(dim=1)
            chosen, parents = code.expand(len(history), 1), torch.zeros(len(history), 1, dtype=torch.long)
    return scores


@pytest.mark.parametrize("code_softmax", ["legal", "full"])
@pytest.mark.parametrize("modalities", [["text"], ["text", "image"], ["image", "audio", "text"]])
def test_the_loss_is_what_the_steps_say_of_the_target(modalities, code_softmax):
    backbone = build(*modalities, code_softmax=code_softmax)
    scores = log_probs(backbone, HISTORY, LENGTHS)
    expected = -scores.gather(1, TARGETS[:, None] - 1).mean()
    torch.testing.assert_close(backbone.loss(HISTORY, LENGTHS, TARGETS, None), expected)
    total = scores.exp().sum(dim=1)
    if code_softmax == "legal":
        torch.testing.assert_close(total, torch.ones(5))
    else:
        assert (total < 1).all()


@pytest.mark.parametrize("code_softmax", ["legal", "full"])
def test_a_windows_loss_is_the_mean_of_its_prefixes(code_softmax):
    backbone = build(code_softmax=code_softmax)
    counts = torch.tensor([3, 1, 4, 2, 1])
    total = torch.zeros(())
    for row in range(5):
        sequence = [*HISTORY[row, : LENGTHS[row]].tolist(), int(TARGETS[row])]
        for end in range(len(sequence) - counts[row], len(sequence)):
            prefix = torch.tensor([sequence[:end]])
            total += backbone.loss(prefix, torch.tensor([end]), torch.tensor([sequence[end]]), None)
    torch.testing.assert_close(backbone.loss(HISTORY, LENGTHS, TARGETS, counts), total / counts.sum())


def test_no_position_sees_what_comes_later():
    backbone = build()
    vectors = backbone.items(HISTORY[2, :6]).detach().requires_grad_()
    hidden = backbone.sequence(vectors, torch.tensor([6]))
    for position in range(6):
        (gradient,) = torch.autograd.grad(hidden[position].sum(), vectors, retain_graph=True)
        sees = gradient.abs().sum(dim=1) > 1e-6
        assert sees.tolist() == [other <= position for other in range(6)]


@torch.no_grad()
def test_a_later_item_changes_no_earlier_loss():
    backbone = build()

    def losses_per_position(last: int) -> torch.Tensor:
        sequence = torch.tensor([1, 2, 3, 4, last])
        hidden = backbone.sequence(backbone.items(sequence), torch.tensor([5]))
        return backbone.negative_log_likelihood(hidden[:3], sequence[1:4], sequence[:3].repeat(3, 1).tril())

    assert torch.equal(losses_per_position(5), losses_per_position(7))


@torch.no_grad()
def test_neither_padding_nor_neighbours_matter():
    backbone = build()
    counts = torch.tensor([3, 1, 4, 2, 1])
    expected = backbone.loss(HISTORY, LENGTHS, TARGETS, counts)
    longer = torch.cat([HISTORY, torch.zeros(5, 1, dtype=torch.long)], dim=1)
    noise = longer.masked_fill(torch.arange(7) >= LENGTHS[:, None], 5)
    for history in (longer, noise):
        torch.testing.assert_close(backbone.loss(history, LENGTHS, TARGETS, counts), expected)
    order = torch.tensor([4, 2, 0, 3, 1])
    shuffled = backbone.loss(HISTORY[order], LENGTHS[order], TARGETS[order], counts[order])
    torch.testing.assert_close(shuffled, expected)
    alone = torch.cat([backbone.start(HISTORY[[row]], LENGTHS[[row]]).hidden for row in range(5)])
    torch.testing.assert_close(backbone.start(HISTORY, LENGTHS).hidden, alone, atol=1e-5, rtol=1e-5)


def test_sequences_in_blocks_are_what_padded_ones_are():
    """Output and gradients, with sequences that lie in one block, across two, and end with one."""
    sequence, lengths = build().sequence, torch.tensor([3, 1, 7, 2, 6, 7, 1, 1, 5])
    vectors = torch.randn(int(lengths.sum()), 16, requires_grad=True)
    expected = torch.cat([sequence.padded(part.unsqueeze(0)).squeeze(0) for part in vectors.split(lengths.tolist())])
    found = sequence(vectors, lengths)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    weights = [vectors, *sequence.parameters()]
    factors = torch.randn_like(expected)
    for gradient, wanted in zip(
        *(torch.autograd.grad((hidden * factors).sum(), weights) for hidden in (found, expected)), strict=True
    ):
        torch.testing.assert_close(gradient, wanted, atol=1e-4, rtol=1e-4)


ITEM_SOFTMAX = {"weight": 0.5, "item_vectors": True}


@pytest.mark.parametrize(
    "options", [{}, {"code_softmax": "full"}, {"item_softmax": ITEM_SOFTMAX}, {"learn_repeats": True}], ids=str
)
def test_the_loss_compiles_as_a_whole(options):
    """The program computes padding and forced digits, too: it has other shapes, and the same loss and gradients."""
    assert_loss_compiles_as_a_whole(build(**options), HISTORY, LENGTHS, TARGETS, torch.tensor([3, 1, 4, 2, 1]))


def test_the_search_compiles_as_a_whole():
    assert_search_compiles_as_a_whole(build("text"), HISTORY, LENGTHS, k=4, beam_width=5)


def test_an_empty_history_is_refused():
    with pytest.raises(ValueError, match="without history"):
        build().start(HISTORY, torch.tensor([3, 0, 6, 3, 2]))


def test_dropout_acts_in_training_only():
    backbone = build(dropout=0.3)
    batch = (HISTORY, LENGTHS, TARGETS, None)
    assert backbone.loss(*batch) == backbone.loss(*batch)
    backbone.train()
    assert backbone.loss(*batch) != backbone.loss(*batch)


@torch.no_grad()
def test_the_transition_token_acts_in_the_history_and_is_a_step_of_the_decoder():
    for modalities, transitions in ((["text", "image"], 1), (["text", "image", "audio"], 2), (["text"], 0)):
        backbone = build(*modalities)
        assert len(backbone.decoder.steps) == transitions
        for depth, digit in enumerate(backbone.table.digits):
            if digit.kind != "transition":
                continue
            before = log_probs(backbone, HISTORY, LENGTHS)
            items = backbone.items.parts(torch.arange(1, N + 1))
            token_id = sum(backbone.table.sizes[:depth]) + 1
            saved = backbone.items.embedding[token_id].clone()
            backbone.items.embedding[token_id] = torch.randn(16)
            changed = backbone.items.parts(torch.arange(1, N + 1))
            for modality in modalities:  # it marks the modality it leads to, for each item in another way
                difference = changed[modality] - items[modality]
                assert (difference.std(dim=0).max() > 1e-2) == (modality == digit.modality)
            assert (log_probs(backbone, HISTORY, LENGTHS) - before).abs().max() > 1e-2
            backbone.items.embedding[token_id] = saved
            step = backbone.decoder.steps[str(depth)]
            step.block[3].weight.mul_(2)
            difference = log_probs(backbone, HISTORY, LENGTHS) - before
            assert difference.abs().max() > 1e-2
            torch.testing.assert_close(log_probs(backbone, HISTORY, LENGTHS).exp().sum(dim=1), torch.ones(5))
    assert len(build("text", "image", transitions=False).decoder.steps) == 0


def test_every_parameter_learns_but_the_head_of_a_digit_without_choice():
    """A head that is never asked gets no gradient; the optimiser passes it over, weight decay included."""
    blocks = {"text": np.array([[0], [1], [1]]), "image": np.array([[1], [0], [0]])}
    table = SemanticIdTable.from_blocks(blocks, list("abc"))  # the text's code decides about the image's
    for code_softmax, idle in (("legal", ["decoder.heads.1.bias", "decoder.heads.1.weight"]), ("full", [])):
        trie = PrefixTrie(table.codes[1:], table.sizes)
        backbone = HierarchicalBackbone(table=table, trie=trie, code_softmax=code_softmax, max_length=3, **SMALLEST)
        backbone.loss(torch.tensor([[1, 2], [2, 1]]), torch.tensor([2, 2]), torch.tensor([1, 3]), None).backward()
        assert sorted(name for name, p in backbone.named_parameters() if p.grad is None) == idle


@torch.no_grad()
def test_encodings_of_a_modality_ignore_the_others_and_add_up_to_the_item():
    backbone = build()
    item_ids = torch.arange(1, N + 1)
    parts = backbone.modality_encodings(item_ids)
    assert list(parts) == ["text", "image"]
    torch.testing.assert_close(parts["text"][1], parts["text"][2])  # equal codes
    dedup = backbone.items.embedding[backbone.items.token_ids[item_ids, -1]]
    torch.testing.assert_close(backbone.items(item_ids), parts["text"] + parts["image"] + dedup)
    assert not torch.equal(backbone.items(item_ids)[1], backbone.items(item_ids)[2])  # the dedup digit tells them apart


@torch.no_grad()
def test_translation_is_a_chain_of_full_softmaxes_over_the_targets_codes():
    backbone = build("text", "image", "audio")
    item_ids = torch.tensor([1, 4, 5, 8])
    decoder, codes = backbone.decoder, backbone.codes[item_ids]
    for source, target, columns in (("text", "audio", (6, 7)), ("audio", "text", (0, 1)), ("image", "audio", (6, 7))):
        state = backbone.items.parts(item_ids)[source]
        expected = torch.zeros(4)
        for digit in columns:
            expected -= decoder.logits(digit, state).log_softmax(dim=1)[torch.arange(4), codes[:, digit]]
            state = decoder.choose(digit, state, codes[:, digit])
        loss = backbone.modality_translation_loss(source, target, item_ids)
        torch.testing.assert_close(loss, expected.mean())
    with pytest.raises(ValueError, match="smell"):
        backbone.modality_translation_loss("text", "smell", item_ids)


def test_modalities_may_be_called_anything():
    blocks = {"dedup": BLOCKS["text"], "clip-b.32": BLOCKS["image"]}
    table = SemanticIdTable.from_blocks(blocks, list("abcdefgh"), transitions=True)
    trie = PrefixTrie(table.codes[1:], table.sizes)
    backbone = HierarchicalBackbone(table=table, trie=trie, code_softmax="legal", max_length=6, **SMALLEST)
    assert list(backbone.modality_encodings(torch.tensor([1]))) == ["dedup", "clip-b.32"]
    assert backbone.loss(HISTORY, LENGTHS, TARGETS, None).isfinite()


@pytest.mark.parametrize("lengths", [[1, 4, 2, 3], [3, 3], [5]])
def test_the_last_position_alone_is_what_it_is_among_all(lengths):
    backbone = build().eval()
    lengths = torch.tensor(lengths)
    vectors = torch.randn(int(lengths.sum()), backbone.items.embedding.shape[1])
    every = backbone.sequence(vectors, lengths)
    torch.testing.assert_close(backbone.sequence(vectors, lengths, only_last=True), every[lengths.cumsum(0) - 1])
