"""The page of all settings, ``docs/settings.md``, and the sections that it and ``recbole-mgr settings`` show."""

from __future__ import annotations

from recbole_mgr.integration.config import default_settings, keys_of_its_own, recbole_model_properties, recbole_models
from recbole_mgr.settings import GROUPS
from recbole_mgr.settings.model_keys import QUANTIZER_OPTIONS
from recbole_mgr.settings.recbole_keys import Columns, Evaluation, Filters, Machine, Training
from recbole_mgr.settings.tables import Row, markdown_table, rows, written

# A class of models: its title, and a model whose defaults of the keys that all of them have are those of every one.
_FAMILIES = {
    "GenerativeRecommender": ("Every generating model", "MGRLF"),
    "ClosedFormRecommender": ("Every closed-form baseline", "HistoryAgain"),
}
_INTRODUCTION = """\
# Settings

Written by `python docs/write_settings.py`; `recbole-mgr settings MODEL` shows the same for one model.

A setting is given on the command line (`--epochs=20`), in a YAML file (`--config_files my.yaml`), for one model of a
table (`--model MGRLFpp:beam_size=100`) or in `config_dict` of RecBole's own functions. The later of these wins:
RecBole's defaults, `properties/overall.yaml`, `properties/model/`, the setting `preset`, `properties/dataset/`,
`--config_files`, `--key=value`, a model's own settings. A key that a model does not know, a value of another type or
out of range, and settings that contradict each other are errors. `True`, `yes`, `on` and `1` mean the same, as do
`False`, `no`, `off` and `0`.
"""


def sections() -> list[tuple[str, list[Row]]]:
    """Titles and tables of all keys but those of RecBole's own models."""
    parts = []
    shared = default_settings("BPR")
    for title, group in (
        ("Every model: machine and files", Machine),
        ("Every model trained by gradient (closed-form baselines and RecBole's Pop, EASE, ... read none)", Training),
        ("Every model: evaluation", Evaluation),
        ("Every model: columns", Columns),
        ("Every model: filters", Filters),
    ):
        parts.append((title, rows(group.all(), shared)))
    for name, group in list(GROUPS.items())[1:]:
        title, model = _FAMILIES.get(name, (name, name))
        parts.append((title, rows(group.own(), default_settings(model))))
    for name, group in QUANTIZER_OPTIONS.items():
        parts.append((f"quantizer_options of {name}", rows(group.all(), {})))
    return parts


def page() -> str:
    """The page ``docs/settings.md``."""
    parts = [_INTRODUCTION]
    parts += [f"## {title}\n\n{markdown_table(table)}\n" for title, table in sections()]
    lines = ["| model | key: default (range) |", "|---|---|"]
    lines += [f"| {model} | {_summary(model)} |" for model in recbole_models()]
    parts.append("## RecBole's own models\n\nBeside the settings of every model.\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def _summary(model: str) -> str:
    defaults = recbole_model_properties(model)
    own = [key for name, key in keys_of_its_own(model).items() if name in defaults]
    return ", ".join(
        f"`{key.name}: {written(defaults[key.name])}`" + (f" ({key.range})" if key.range else "") for key in own
    )
