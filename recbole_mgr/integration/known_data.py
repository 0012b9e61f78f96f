"""A RecBole data set of what a run directory knows: the numbers of users and items, and the training interactions."""

from __future__ import annotations

from logging import getLogger

import numpy as np
import torch
from recbole.config import Config
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.utils import FeatureType


def known_data(config: Config, num_users: int, num_items: int, pairs: np.ndarray) -> Dataset:
    """What RecBole's models are built from, as far as they ask for no more than these.

    RecBole's own methods (``num``, ``inter_matrix``, ``history_item_matrix``, ...) answer; a model that reads features,
    graphs of knowledge or texts meets an AttributeError.

    Args:
        config: of the run.
        num_users, num_items: U and N, the padding not counted.
        pairs: integer [n, 2], internal user and item ids of the training part.
    """
    data = Dataset.__new__(Dataset)  # its constructor reads files
    user, item = config["USER_ID_FIELD"], config["ITEM_ID_FIELD"]
    data.config, data.dataset_name, data.logger = config, config["dataset"], getLogger()
    data.uid_field, data.iid_field = user, item
    data.field2type = {user: FeatureType.TOKEN, item: FeatureType.TOKEN}
    data.field2id_token = {user: range(num_users + 1), item: range(num_items + 1)}
    users, items = (torch.from_numpy(column.astype(np.int64)) for column in pairs.T)
    data.inter_feat = Interaction({user: users, item: items})
    return data
