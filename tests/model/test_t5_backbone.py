"""T5Backbone against transformers' own forward pass, brute force over a catalogue of six items, and itself."""

import numpy as np
import pytest
import torch
from whole_programs import assert_loss_compiles_as_a_whole, assert_search_compiles_as_a_whole

from recbole_mgr.generation.beam_search import beam_search
from recbole_mgr.generation.exact_scores import exhaustive_scores
from recbole_mgr.generation.trie import PrefixTrie
from recbole_mgr.model.backbone.packed_t5 import PackedT5, Sizes
from recbole_mgr.model.backbone.t5 import T5Backbone
from recbole_mgr.semantic_id.table import SemanticIdTable
from recbole_mgr.semantic_id.vocabulary import CodeVocabulary

TEXT = np.array([[0, 0, 0], [0, 0, 1], [0, 2, 0], [1, 0, 1], [1, 1, 0], [1, 1, 1]])
TEXT_COLLIDING = np.array([[0, 0], [0, 1], [0, 1], [1, 0], [1, 1], [2, 1]])
IMAGE = np.array([[2, 0], [0, 1], [0, 1], [1, 1], [1, 1], [0, 0]])  # items 2 and 3 share all codes
WORLDS = {
    "one modality": {"blocks": {"text": TEXT}},
    "two with transition and dedup": {
        "blocks": {"text": TEXT_COLLIDING, "image": IMAGE},
        "transitions": True,
    },
}
TRANSITION = 2  # the digit, in the world of two modalities

HISTORY = torch.tensor([[3, 1, 2, 0, 0], [6, 0, 0, 0, 0], [1, 2, 3, 4, 0], [2, 2, 5, 0, 0], [4, 6, 0, 0, 0]])
LENGTHS = torch.tensor([3, 1, 4, 3, 2])
TARGETS = torch.tensor([4, 1, 5, 6, 2])


def build(world: str, code_softmax: str = "legal", dropout: float = 0.0, seed: int = 0, **blocks) -> T5Backbone:
    settings = WORLDS[world] | ({"blocks": WORLDS[world]["blocks"] | blocks})
    table = SemanticIdTable.from_blocks(item_tokens=list("abcdef")[: len(settings["blocks"]["text"])], **settings)
    torch.manual_seed(seed)
    backbone = T5Backbone(
        table=table,
        trie=PrefixTrie(table.codes[1:], table.sizes),
        code_softmax=code_softmax,
        hidden_size=16,
        num_layers=2,
        num_heads=3,
        head_size=4,
        inner_size=32,
        dropout=dropout,
    )
    for parameter in backbone.t5.parameters():  # T5 begins with a relative bias and queries close to nothing
        torch.nn.init.normal_(parameter, std=0.5)
    return backbone.eval()


def transformers_t5_of(sizes: Sizes) -> torch.nn.Module:
    from transformers import T5Config, T5ForConditionalGeneration  # not above recbole_mgr, which mends its imports

    config = T5Config(
        vocab_size=sizes.vocabulary_size,
        d_model=sizes.hidden_size,
        num_layers=sizes.num_layers,
        num_heads=sizes.num_heads,
        d_kv=sizes.head_size,
        d_ff=sizes.inner_size,
        dropout_rate=sizes.dropout,
        feed_forward_proj="relu",
        pad_token_id=CodeVocabulary.PAD,
        decoder_start_token_id=CodeVocabulary.PAD,
        eos_token_id=None,
    )
    return T5ForConditionalGeneration(config).eval()


def transformers_t5(backbone: T5Backbone) -> torch.nn.Module:
    """transformers' own T5 with the backbone's weights, every one of them by its name."""
    model = transformers_t5_of(backbone.t5.sizes)
    model.load_state_dict(backbone.t5.state_dict())
    return model


def transformers_logits(backbone: T5Backbone, history, lengths, decoder_token_ids, model=None) -> list[torch.Tensor]:
    """Per digit [B, K], by transformers' own forward pass over the padded batch."""
    model = model or transformers_t5(backbone)
    num_digits = backbone.codes.shape[1]
    is_item = torch.arange(history.shape[1]) < lengths[:, None]
    start = torch.zeros_like(decoder_token_ids[:, :1])
    output = model(
        input_ids=backbone.token_ids[history].flatten(1),
        attention_mask=is_item.repeat_interleave(num_digits, dim=1).long(),
        decoder_input_ids=torch.cat([start, decoder_token_ids[:, : num_digits - 1]], dim=1),
    )
    ranges = [backbone.vocabulary.token_id_range(digit) for digit in range(output.logits.shape[1])]
    return [output.logits[:, digit, columns] for digit, columns in enumerate(ranges)]


def brute_force_log_probs(backbone: T5Backbone, history, lengths, item_ids, model=None) -> torch.Tensor:
    """[B], with the codes that may follow a prefix found by comparing it with every item's."""
    digit_logits = transformers_logits(backbone, history, lengths, backbone.token_ids[item_ids], model)
    total = torch.zeros(len(item_ids))
    for row, item in enumerate(item_ids.tolist()):
        codes = backbone.codes[item]
        for digit, logits in enumerate(digit_logits):
            siblings = backbone.codes[1:][(backbone.codes[1:, :digit] == codes[:digit]).all(dim=1), digit]
            legal = siblings.unique() if backbone.code_softmax == "legal" else torch.arange(logits.shape[1])
            total[row] = total[row] + logits[row, codes[digit]] - logits[row, legal].logsumexp(dim=0)
    return total


def step_of(backbone: T5Backbone, history, lengths):
    first = backbone.start(history, lengths)

    def step(depth, nodes, codes, parents, state):
        return backbone.step(depth, nodes, codes, parents, first if state is None else state)

    return step


@pytest.mark.parametrize("code_softmax", ["legal", "full"])
@pytest.mark.parametrize("world", WORLDS)
def test_loss_and_gradients_are_those_of_transformers(world, code_softmax):
    backbone = build(world, code_softmax)
    model = transformers_t5(backbone)
    loss = backbone.loss(HISTORY, LENGTHS, TARGETS, None)
    expected = -brute_force_log_probs(backbone, HISTORY, LENGTHS, TARGETS, model).mean()
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)
    loss.backward()
    expected.backward()
    theirs = dict(model.named_parameters())
    assert set(theirs) == {name for name, _ in backbone.t5.named_parameters()}
    for name, parameter in backbone.t5.named_parameters():
        torch.testing.assert_close(parameter.grad, theirs[name].grad, atol=1e-5, rtol=1e-4)
        assert parameter.grad.abs().max() > 0


@pytest.mark.parametrize("length", [1, 9, 40, 300])
def test_the_bias_by_distance_is_that_of_transformers(length):
    backbone = build("one modality")
    model = transformers_t5(backbone)
    token_ids = torch.randint(1, 4, (1, length), generator=torch.Generator().manual_seed(0))
    inside = []
    for stack in (model.encoder, model.decoder):
        attention = stack.block[0].layer[0].SelfAttention
        attention.relative_attention_bias.register_forward_hook(lambda _, inputs, output: inside.append(output))
    model(input_ids=token_ids, decoder_input_ids=token_ids)
    for stack, theirs in zip((backbone.t5.encoder, backbone.t5.decoder), inside, strict=True):
        assert torch.equal(stack.relative_bias(length)[0].permute(1, 2, 0), theirs.view(length, length, -1))


def test_weights_begin_with_the_distributions_of_transformers():
    sizes = Sizes(
        vocabulary_size=300, hidden_size=64, num_layers=2, num_heads=3, head_size=48, inner_size=256, dropout=0.1
    )
    torch.manual_seed(0)
    ours, theirs = dict(PackedT5(sizes).named_parameters()), dict(transformers_t5_of(sizes).named_parameters())
    assert set(ours) == set(theirs)
    for name, parameter in ours.items():
        assert parameter.shape == theirs[name].shape, name
        assert parameter.std().item() == pytest.approx(theirs[name].std().item(), rel=0.2, abs=1e-9), name
        assert parameter.mean().item() == pytest.approx(theirs[name].mean().item(), abs=0.06), name


@torch.no_grad()
@pytest.mark.parametrize("world", WORLDS)
def test_every_beam_of_every_step_is_teacher_forced_transformers(world):
    backbone = build(world, "full")
    num_digits, users = backbone.codes.shape[1], len(HISTORY)
    step = step_of(backbone, HISTORY, LENGTHS)
    generator = torch.Generator().manual_seed(1)
    prefixes, codes, parents, state = torch.zeros(users, 1, 0, dtype=torch.long), None, None, None
    nowhere = torch.full((1, 1), -1)  # "full" computes the beams that no item follows, too
    for depth in range(num_digits):
        logits, state = step(depth, nowhere.expand(prefixes.shape[:2]), codes, parents, state)
        for beam in range(prefixes.shape[1]):
            padding = torch.zeros(users, num_digits - depth, dtype=torch.long)
            token_ids = backbone.vocabulary.token_ids(torch.cat([prefixes[:, beam], padding], dim=1))
            expected = transformers_logits(backbone, HISTORY, LENGTHS, token_ids)[depth]
            torch.testing.assert_close(logits[:, beam], expected, atol=1e-5, rtol=1e-5)
        width = depth + 3  # the beam grows, and beams split, merge and change places
        parents = torch.randint(prefixes.shape[1], (users, width), generator=generator)
        codes = torch.randint(logits.shape[-1], (users, width), generator=generator)
        prefixes = torch.cat([prefixes[torch.arange(users)[:, None], parents], codes[:, :, None]], dim=2)


@torch.no_grad()
def test_decided_digits_are_not_computed():
    backbone, tokens = build("one modality"), []
    norm = backbone.t5.decoder.final_layer_norm
    norm.register_forward_pre_hook(lambda _, inputs: tokens.append(len(inputs[0])))
    exhaustive_scores(step_of(backbone, HISTORY, LENGTHS), backbone.trie, batch_size=5)
    below_prefixes = [TEXT[:, :depth] for depth in range(3)]
    shared = [sum(count > 1 for count in np.unique(rows, axis=0, return_counts=True)[1]) for rows in below_prefixes]
    assert shared == [1, 2, 2]  # prefixes of several items; those of one are 020 and 101
    assert tokens == [5 * count for count in shared]
    tokens.clear()
    backbone.loss(HISTORY, LENGTHS, torch.tensor([1, 2, 3, 4, 5]))
    assert tokens == [5 * 2 + 3]  # all but items 3 and 4 have three open digits
    backbone.code_softmax = "full"
    backbone.loss(HISTORY, LENGTHS, TARGETS)
    assert tokens[1:] == [5 * 3]


@torch.no_grad()
@pytest.mark.parametrize("lengths", [torch.tensor([2, 1]), torch.tensor([0, 0])])
def test_a_catalogue_of_one_item_leaves_nothing_to_compute(lengths):
    backbone = build("one modality", text=TEXT[5:])
    history, targets = torch.tensor([[1, 1], [1, 0]]), torch.ones(2, dtype=torch.long)
    assert backbone.loss(history, lengths, targets) == 0
    ranked = beam_search(step_of(backbone, history, lengths), backbone.trie, batch_size=2, k=1, beam_width=3)
    assert ranked.item_ids.tolist() == [[1], [1]] and ranked.scores.tolist() == [[0], [0]]


@torch.no_grad()
@pytest.mark.parametrize("code_softmax", ["legal", "full"])
@pytest.mark.parametrize("world", WORLDS)
def test_a_beam_as_wide_as_the_catalogue_is_brute_force(world, code_softmax):
    backbone = build(world, code_softmax)
    users = len(HISTORY)
    expected = torch.stack(
        [brute_force_log_probs(backbone, HISTORY, LENGTHS, torch.full((users,), item)) for item in range(1, 7)],
        dim=1,
    )  # [B, N]
    scores, order = expected.sort(dim=1, descending=True)
    ranked = beam_search(
        step_of(backbone, HISTORY, LENGTHS),
        backbone.trie,
        batch_size=users,
        k=6,
        beam_width=6,
        code_softmax=code_softmax,
    )
    torch.testing.assert_close(ranked.scores, scores, atol=1e-5, rtol=1e-5)
    assert torch.equal(ranked.item_ids, order + 1)
    exhaustive = exhaustive_scores(
        step_of(backbone, HISTORY, LENGTHS), backbone.trie, batch_size=users, code_softmax=code_softmax
    )
    torch.testing.assert_close(exhaustive[:, 1:], expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("world", WORLDS)
def test_the_items_probabilities_sum_to_one(world):
    backbone = build(world)
    scores = exhaustive_scores(step_of(backbone, HISTORY, LENGTHS), backbone.trie, batch_size=len(HISTORY))
    torch.testing.assert_close(scores.exp().sum(dim=1), torch.ones(len(HISTORY)))


@torch.no_grad()
def test_loss_does_not_depend_on_padding_nor_on_the_other_rows():
    backbone = build("two with transition and dedup")
    alone = [backbone.loss(HISTORY[row : row + 1], LENGTHS[row : row + 1], TARGETS[row : row + 1]) for row in range(5)]
    expected = torch.stack(alone).mean()
    longer = torch.cat([HISTORY, torch.zeros(5, 7, dtype=torch.long)], dim=1)
    beyond = torch.arange(longer.shape[1]) >= LENGTHS[:, None]
    for history in (HISTORY, longer, longer.masked_fill(beyond, 5)):  # what stands in the padding is not read
        torch.testing.assert_close(backbone.loss(history, LENGTHS, TARGETS), expected)


@torch.no_grad()
def test_the_order_of_the_history_matters():
    backbone = build("one modality")
    pair = torch.tensor([[3, 5]])
    loss = backbone.loss(pair, torch.tensor([2]), TARGETS[:1])
    assert (loss - backbone.loss(pair.flip(1), torch.tensor([2]), TARGETS[:1])).abs() > 1e-3


@torch.no_grad()
def test_a_user_without_history_gets_a_distribution_and_disturbs_nobody():
    backbone = build("one modality")
    lengths = torch.tensor([3, 0, 4, 0, 2])
    scores = exhaustive_scores(step_of(backbone, HISTORY, lengths), backbone.trie, batch_size=5)
    expected = exhaustive_scores(step_of(backbone, HISTORY, LENGTHS), backbone.trie, batch_size=5)
    torch.testing.assert_close(scores[[0, 2, 4]], expected[[0, 2, 4]])
    torch.testing.assert_close(scores[[1, 3]].exp().sum(dim=1), torch.ones(2))
    torch.testing.assert_close(scores[1], scores[3])
    nobody = torch.zeros(2, dtype=torch.long)
    alone = exhaustive_scores(step_of(backbone, HISTORY[:2], nobody), backbone.trie, batch_size=2)
    torch.testing.assert_close(alone[0], scores[1])


@torch.no_grad()
def test_the_transition_token_acts_in_history_and_decoder():
    backbone = build("two with transition and dedup", "full")
    (token_id,) = range(backbone.vocabulary.size)[backbone.vocabulary.token_id_range(TRANSITION)]
    parents = torch.zeros(len(HISTORY), 1, dtype=torch.long)

    def logits_after_transition(state):
        codes = None
        for depth in range(TRANSITION + 2):
            logits, state = backbone.step(depth, parents, codes, parents if depth else None, state)
            codes = torch.zeros_like(parents)
        return logits

    start = backbone.start(HISTORY, LENGTHS)
    before = logits_after_transition(start)
    backbone.t5.shared.weight[token_id] += torch.randn(16)
    assert (logits_after_transition(start) - before).abs().max() > 1e-2  # the decoder reads it
    changed = backbone.start(HISTORY, LENGTHS)
    assert (changed.memory.keys[0][0] - start.memory.keys[0][0]).abs().max() > 1e-2  # and so does the encoder


def test_twenty_rows_are_learned_by_heart():
    backbone = build("one modality", "full").train()
    generator = torch.Generator().manual_seed(0)
    pairs = torch.cartesian_prod(torch.arange(1, 7), torch.arange(1, 7))
    history = pairs[torch.randperm(len(pairs), generator=generator)[:20]]
    targets = torch.randint(1, 7, (20,), generator=generator)
    lengths = torch.full((20,), 2)
    optimizer = torch.optim.Adam(backbone.parameters(), lr=1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        loss = backbone.loss(history, lengths, targets)
        loss.backward()
        optimizer.step()
    assert loss < 0.05
    ranked = beam_search(
        step_of(backbone, history, lengths), backbone.trie, batch_size=20, k=1, beam_width=6, code_softmax="full"
    )
    assert torch.equal(ranked.item_ids[:, 0], targets)


@torch.no_grad()
def test_modality_encodings_are_the_encoders_mean_over_one_modality():
    backbone = build("two with transition and dedup")
    item_ids = torch.tensor([5, 1, 1, 6])
    encodings = backbone.modality_encodings(item_ids)
    assert list(encodings) == ["text", "image"]
    for modality, columns in (("text", slice(0, 2)), ("image", slice(3, 5))):
        output = transformers_t5(backbone).encoder(input_ids=backbone.token_ids[item_ids, columns])
        torch.testing.assert_close(encodings[modality], output.last_hidden_state.mean(dim=1))


@torch.no_grad()
def test_modality_encodings_ignore_the_other_modality():
    item_ids = torch.arange(1, 7)
    encodings = build("two with transition and dedup").modality_encodings(item_ids)
    moved = IMAGE[[1, 5, 5, 0, 2, 3]]  # still a dedup digit of two codes, so the same vocabulary
    others = build("two with transition and dedup", image=moved).modality_encodings(item_ids)
    torch.testing.assert_close(encodings["text"], others["text"])
    torch.testing.assert_close(encodings["image"][[1, 5, 5, 0, 2, 3]], others["image"])
    assert (encodings["image"] - others["image"]).abs().max() > 1e-2


@torch.no_grad()
def test_translation_loss_is_that_of_transformers():
    backbone = build("two with transition and dedup")
    item_ids = torch.tensor([5, 1, 1, 6])
    text, image = backbone.token_ids[item_ids, 0:2], backbone.token_ids[item_ids, 3:5]
    decoder_input_ids = torch.stack([torch.zeros(4, dtype=torch.long), image[:, 0]], dim=1)
    logits = transformers_t5(backbone)(input_ids=text, decoder_input_ids=decoder_input_ids).logits
    expected = torch.zeros(4)
    for place, digit in enumerate((3, 4)):
        columns = backbone.vocabulary.token_id_range(digit)
        log_probs = logits[:, place, columns].log_softmax(dim=-1)
        expected -= log_probs[torch.arange(4), backbone.codes[item_ids, digit]]
    loss = backbone.modality_translation_loss("text", "image", item_ids)
    torch.testing.assert_close(loss, expected.mean(), atol=1e-5, rtol=1e-5)


def test_translation_is_learned():
    backbone = build("two with transition and dedup").train()
    item_ids = torch.tensor([1, 2, 4, 5, 6])  # their text codes differ
    optimizer = torch.optim.Adam(backbone.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        losses.append(backbone.modality_translation_loss("text", "image", item_ids))
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.1 < 1 < losses[0]


def test_dropout_acts_in_training_only():
    backbone = build("two with transition and dedup", dropout=0.3)
    batch = (HISTORY, LENGTHS, TARGETS)
    assert torch.equal(backbone.loss(*batch), backbone.loss(*batch))
    backbone.train()
    first, second = backbone.loss(*batch), backbone.loss(*batch)
    assert first.isfinite() and second.isfinite() and first != second


def test_attention_weights_are_dropped_in_training(monkeypatch):
    backbone = build("one modality", dropout=0.3).train()
    for module in backbone.modules():
        if isinstance(module, torch.nn.Dropout):
            monkeypatch.setattr(module, "p", 0.0)
    batch = (HISTORY, LENGTHS, TARGETS)
    assert backbone.loss(*batch) != backbone.loss(*batch)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("training", [True, False])
def test_half_precision_autocast_stays_close(training, dtype):
    backbone = build("two with transition and dedup").train(training)
    expected = backbone.loss(HISTORY, LENGTHS, TARGETS)
    with torch.autocast("cpu", dtype=dtype):
        loss = backbone.loss(HISTORY, LENGTHS, TARGETS)
        scores = exhaustive_scores(step_of(backbone, HISTORY, LENGTHS), backbone.trie, batch_size=5)
        logits, _ = backbone.step(0, torch.zeros(5, 1, dtype=torch.long), None, None, backbone.start(HISTORY, LENGTHS))
    loss.backward()
    assert loss.dtype == scores.dtype == logits.dtype == torch.float32
    torch.testing.assert_close(loss, expected, atol=0.05, rtol=0.05)
    torch.testing.assert_close(scores.exp().sum(dim=1), torch.ones(5))


def test_every_tensor_is_made_on_the_inputs_device():
    backbone = build("two with transition and dedup")
    item_ids = torch.arange(1, 7)

    def check(embedding, inputs):  # an embedding takes indices of any device without complaint
        assert inputs[0].device.type == "cpu"

    backbone.t5.shared.register_forward_pre_hook(check)
    with torch.device("meta"):  # a tensor made on the default device cannot meet those of the model
        loss = backbone.loss(HISTORY, LENGTHS, TARGETS)
        losses = loss + backbone.modality_translation_loss("image", "text", item_ids)
        assert all(encoding.device.type == "cpu" for encoding in backbone.modality_encodings(item_ids).values())
        scores = exhaustive_scores(step_of(backbone, HISTORY, LENGTHS), backbone.trie, batch_size=5)
    assert losses.device.type == scores.device.type == "cpu"


def test_semantic_ids_stay_out_of_checkpoints():
    backbone = build("one modality")
    assert all(name.startswith("t5.") for name in backbone.state_dict())


def test_unknown_settings_are_refused():
    with pytest.raises(ValueError, match="code_softmax.*vocabulary"):
        build("one modality", "vocabulary")
    with pytest.raises(ValueError, match="audio"):
        build("one modality").modality_translation_loss("text", "audio", TARGETS)


@pytest.mark.parametrize("code_softmax", ["legal", "full"])
def test_the_loss_compiles_as_a_whole(code_softmax):
    """The program computes padding and forced digits, too: it has other shapes, and the same loss and gradients."""
    backbone = build("two with transition and dedup", code_softmax)
    assert_loss_compiles_as_a_whole(backbone, HISTORY, LENGTHS, TARGETS)


def test_the_search_compiles_as_a_whole():
    assert_search_compiles_as_a_whole(build("one modality"), HISTORY, LENGTHS, k=3, beam_width=4)
