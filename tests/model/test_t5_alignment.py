"""What the alignment stage asks of T5: encodings of one modality, and its translation into another."""

import torch
from tiny_t5 import IMAGE, build, transformers_t5


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
