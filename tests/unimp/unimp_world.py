"""UniMP on the tiny shop: a model, its tasks and its users."""

import torch
from recbole.data import create_dataset, data_preparation
from recbole.utils import init_seed
from tiny_shop import NUM_ITEMS

from recbole_mgr.integration.config import make_config
from recbole_mgr.unimp.rows import RowBatch, collate
from recbole_mgr.unimp.tasks import make_tasks


class World:
    """A model, its tasks, and the test users as one batch."""

    def __init__(self, settings: dict, **changes):
        self.config = make_config("UniMP", "tiny", [], {**settings, **changes})
        self.train, self.valid, self.test = data_preparation(self.config, create_dataset(self.config))
        self.model = self.new_model(seed=1)
        self.tasks = make_tasks(self.model.task_names, self.model.personal, self.config)
        self.users = self.test._dataset.inter_feat

    def new_model(self, seed: int):
        init_seed(seed, True)
        return self.config.model_class(self.config, self.train._dataset).eval()

    def batch(self, *names: str, rows: int = 3, epoch: int = 0) -> RowBatch:
        """Training rows of some tasks, all by default."""
        chosen = [
            (task.row(case, answer=True), index)
            for index, task in enumerate(self.tasks)
            if task.name in (names or self.model.task_names)
            for case in task.training_rows(epoch)[:rows]
        ]
        return collate(*zip(*chosen, strict=True), pad_token_id=self.model.backbone.pad_token_id, padding="right")

    @torch.no_grad()
    def scores(self) -> torch.Tensor:
        """[B, N + 1]"""
        return self.model.full_sort_predict(self.users).view(-1, NUM_ITEMS + 1)
