"""The models of this plugin, and how RecBole's own look-ups find them.

RecBole looks models up as submodules of ``recbole.model`` (``utils/utils.py:64``), trainers and data set
classes as attributes ``<Model>Trainer`` and ``<Model>Dataset`` (``:98``, ``data/utils.py:40``), and property
files by path (``configurator.py:238``, see :mod:`recbole_mgr.integration.config`). Each look-up gets the narrowest
hook, so that ``recbole.quick_start.run_recbole(model="MGRLFpp", ...)`` works once ``recbole_mgr`` is imported.

Adding a model: a line in ``MODELS`` (it generates) or ``BASELINES`` (it scores every item), a file in
``recbole_mgr/model/`` or ``recbole_mgr/baselines/``, a file in ``properties/model/``; a line in ``OWN_CLASSES`` where
it brings a data set or trainer class of its own.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MODELS: dict[str, str] = {
    "TIGER": "recbole_mgr.model.mgr",
    "MGREF": "recbole_mgr.model.mgr",
    "MGRLF": "recbole_mgr.model.mgr",
    "MGRLFpp": "recbole_mgr.model.mgr",
    "UniMP": "recbole_mgr.unimp.unimp",
}

# Models that score every item, without semantic IDs. Those in closed form have no gradients.
CLOSED_FORM: dict[str, str] = {
    "Popularity": "recbole_mgr.baselines.history_again",
    "HistoryAgain": "recbole_mgr.baselines.history_again",
    "ItemMemory": "recbole_mgr.baselines.item_memory",
    "TGH": "recbole_mgr.baselines.transition_graph",
}

BASELINES = {"SASRecWindows": "recbole_mgr.baselines.sasrec_windows", **CLOSED_FORM}

OURS = {**MODELS, **BASELINES}

# Data set and trainer classes of models that do not share ours; imported when they are asked for.
OWN_CLASSES: dict[str, str] = {
    "UniMPDataset": "recbole_mgr.unimp.dataset:UniMPDataset",
    "UniMPTrainer": "recbole_mgr.unimp.trainer:UniMPTrainer",
    **{f"{name}Dataset": "recbole_mgr.integration.dataset:CheckedDataset" for name in CLOSED_FORM},
    **{f"{name}Trainer": "recbole_mgr.baselines.trainer:ClosedFormTrainer" for name in CLOSED_FORM},
    "SASRecWindowsDataset": "recbole_mgr.integration.dataset:WindowDataset",
    "SASRecWindowsTrainer": "recbole.trainer:Trainer",
}

_RECBOLE_PACKAGE = "recbole.model.sequential_recommender."


def model_class(name: str) -> type:
    """Return the class of one of our models or of RecBole's.

    Args:
        name: class name as in ``--model``, e.g. ``MGRLFpp`` or ``SASRec``.

    Raises:
        ValueError: If no such model exists; the message suggests the nearest names.
    """
    if name in OURS:  # RecBole would import its own models, sixty modules, on the way
        return getattr(importlib.import_module(OURS[name]), name)
    from recbole.utils import get_model

    try:
        return get_model(name)
    except (ValueError, AttributeError, ImportError) as error:
        if isinstance(error, ImportError) and name in _recbole_model_names():
            raise ValueError(f"--model {name}: needs a package that is not installed: {error.name}") from error
        known = {known.lower(): known for known in [*OURS, *_recbole_model_names()]}
        near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
        near = [known[match] for match in near] or list(MODELS)
        raise ValueError(f"--model {name}: no such model. Did you mean {' or '.join(near)}?") from error


def is_generative(name: str) -> bool:
    """Whether ``name`` is a model that generates semantic IDs, and not a baseline of ours or of RecBole's."""
    return name in MODELS


def _own_class(name: str) -> type:
    if name not in OWN_CLASSES:
        raise AttributeError(name)
    module, _, class_name = OWN_CLASSES[name].partition(":")
    return getattr(importlib.import_module(module), class_name)


def _recbole_model_names() -> list[str]:
    """Names of RecBole's models, from the property files beside them."""
    from pathlib import Path

    import recbole

    return [path.stem for path in (Path(recbole.__file__).parent / "properties" / "model").glob("*.yaml")]


class _ModelModuleFinder(MetaPathFinder, Loader):
    """Answers ``import recbole.model.sequential_recommender.<our model>`` with a module holding our class."""

    def find_spec(self, fullname: str, path=None, target=None) -> ModuleSpec | None:
        class_name = self._class_name(fullname)
        return ModuleSpec(fullname, self) if class_name else None

    def exec_module(self, module: ModuleType) -> None:
        class_name = self._class_name(module.__name__)
        setattr(module, class_name, getattr(importlib.import_module(OURS[class_name]), class_name))

    @staticmethod
    def _class_name(fullname: str) -> str | None:
        if not fullname.startswith(_RECBOLE_PACKAGE):
            return None
        file_name = fullname.removeprefix(_RECBOLE_PACKAGE)
        return next((name for name in OURS if name.lower() == file_name), None)


def install() -> None:
    """Make RecBole's look-ups find our models, trainers, data set class and property files (idempotent)."""
    import recbole.data.dataset as recbole_datasets
    import recbole.trainer as recbole_trainers

    from recbole_mgr.integration.dataset import GenerativeDataset, install_feature_filter
    from recbole_mgr.integration.histories import install_shared_histories
    from recbole_mgr.integration.history_rows import install_history_rows
    from recbole_mgr.integration.trainer import GenerativeTrainer

    if not any(isinstance(finder, _ModelModuleFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _ModelModuleFinder())
    for name in MODELS:
        if f"{name}Dataset" not in OWN_CLASSES:
            setattr(recbole_datasets, f"{name}Dataset", GenerativeDataset)
        if f"{name}Trainer" not in OWN_CLASSES:
            setattr(recbole_trainers, f"{name}Trainer", GenerativeTrainer)
    recbole_datasets.__getattr__ = recbole_trainers.__getattr__ = _own_class
    install_feature_filter()
    install_history_rows()
    install_shared_histories()
