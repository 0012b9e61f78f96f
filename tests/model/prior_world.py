"""A model with priors on the tiny data set."""

import torch
from recbole.data import create_dataset, data_preparation
from recbole.utils import init_seed

from recbole_mgr.integration.config import make_config

NUM_ITEMS = 24
ALL = {"item_softmax": True, "memory": True, "popularity": True}
WEIGHTS = {"codes": 0.6, "item_softmax": 0.4, "memory": 0.7, "popularity": 0.2}


class World:
    """The model in eval mode, its three loaders and the test users as one batch."""

    def __init__(self, settings: dict, name: str = "MGRLFpp", **changes):
        self.config = make_config(name, "tiny", [], {**settings, **changes})
        self.train, self.valid, self.test = data_preparation(self.config, create_dataset(self.config))
        init_seed(1, True)
        self.model = self.config.model_class(self.config, self.train._dataset).eval()
        for name, parameter in self.model.named_parameters():
            if "item_softmax" in name and parameter.dim() == 2:  # far from equal scores
                torch.nn.init.normal_(parameter, std=0.5)
        self.batch = self.test._dataset.inter_feat

    @torch.no_grad()
    def scores(self) -> torch.Tensor:
        return self.model.full_sort_predict(self.batch).view(-1, NUM_ITEMS + 1)
