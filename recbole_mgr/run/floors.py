"""The floors of a table: rows that learn nothing, which every other row should beat.

Popularity, and where users take items again, their own history again. They are tested as the rows of the table are,
cost about a test and are not written of in the log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole.config import Config
from recbole.utils import ModelType

from recbole_mgr.data.interactions import takes_again
from recbole_mgr.data.table import AtomicFormat
from recbole_mgr.integration.config import make_config, settings_read
from recbole_mgr.settings.recbole_keys import Columns, Evaluation, Filters, Machine

_POPULARITY = ("Popularity", "Pop")
# What they take over: where things are, what is read and how it is tested.
_KEYS = {key for group in (Machine, Evaluation, Columns, Filters) for key in group.model_fields}
_SILENT = {"state": "WARNING", "show_progress": False, "tracker": None, "log_wandb": False}


def floor_configs(configs: Sequence[Config], settings: Mapping[str, Any]) -> dict[str, Config]:
    """The floors that a table gets beside its rows, in their order.

    Args:
        configs: of the rows.
        settings: parsed settings that hold for the first of them, whatever they mean to a floor.

    Returns:
        Name of the model -> validated settings; none where the setting ``floors`` is off, where no row recommends, and
        none that is a row already.
    """
    models = {config["model"] for config in configs}
    recommend = any("recommendation" in (config["tasks"] or ["recommendation"]) for config in configs)
    if not all(config["floors"] for config in configs) or not recommend:
        return {}
    first, names = configs[0], []
    # RecBole's general models split users with few interactions otherwise than models of sequences
    sequential = any(config["MODEL_TYPE"] == ModelType.SEQUENTIAL for config in configs)
    if not models & set(_POPULARITY):
        names.append(_POPULARITY[0] if sequential else _POPULARITY[1])
    path = Path(first["data_path"]) / f"{first['dataset']}.inter"
    if sequential and "HistoryAgain" not in models and takes_again(path, AtomicFormat.of(first)):
        names.append("HistoryAgain")
    own = {key: value for key, value in settings.items() if key in _KEYS} | _SILENT
    return {name: make_config(name, first["dataset"], [], settings_read(name, own)) for name in names}
