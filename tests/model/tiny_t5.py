"""A small T5 backbone over six items, transformers' own T5 with its weights, and brute force by it."""

import numpy as np
import torch

from recbole_mgr.generation.trie import PrefixTrie
from recbole_mgr.model.backbone.packed_t5 import Sizes
from recbole_mgr.model.backbone.t5 import T5Backbone
from recbole_mgr.semantic_id.table import SemanticIdTable

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

    return T5ForConditionalGeneration(T5Config(**sizes.of_transformers)).eval()


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
