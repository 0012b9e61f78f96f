"""What the models that answer the tests' prompts have in common."""

import torch

from recbole_mgr.unimp.rows import collate


class PromptedModel:
    device = torch.device("cpu")
    rating_line = None

    @staticmethod
    def collate_prompts(rows):
        return collate(rows, [0] * len(rows), pad_token_id=0, padding="left")
