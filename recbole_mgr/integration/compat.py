"""RecBole 1.2.1 on today's NumPy, pandas, SciPy, PyTorch; nothing else lives here.

RecBole's last release (February 2025) does not start with what ``pip install`` brings today
(RUCAIBox/RecBole#2215, #2174). Each function below mends one break and does nothing where that break is
absent, so old versions keep working as they did. What is wrong with RecBole itself, on any version, is mended
in ``repairs.py``.
"""

import functools
import sys
import warnings
from collections.abc import Callable
from importlib import import_module, metadata
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from recbole_mgr.import_hooks import torchvision_schemas
from recbole_mgr.integration.patching import ModuleView, PatchSet, stand_in_modules


def numpy_aliases() -> None:
    """NumPy 2 removed names that RecBole's Config and ray's loggers read (RUCAIBox/RecBole#2215, #2174)."""
    removed = {"float_": np.float64, "complex_": np.complex128, "unicode_": np.str_, "bool8": np.bool_}
    for name, replacement in removed.items():
        if not hasattr(np, name):
            setattr(np, name, replacement)


def missing_values_filled() -> None:
    """pandas 3 copies on write, so ``feat[field].fillna(..., inplace=True)`` changes nothing (pandas#61724).

    RecBole fills missing tokens (``[PAD]``) and missing floats (the mean) that way: without the patch NaN
    stays, and a missing token becomes a random number when the column turns into integers. (Empty cells of sequences,
    which the same no-op hits while they are read, are filled by our reader.)
    """
    from recbole.data.dataset import Dataset

    if _chained_fillna_works():
        return
    fill_nan = Dataset._fill_nan

    @functools.wraps(fill_nan)
    def fill_and_assign(self: Dataset) -> None:
        for feat_name in self.feat_name_list:
            feat = getattr(self, feat_name)
            for field in feat:
                if self.field2type[field].value in ("token", "float"):
                    value = 0 if self.field2type[field].value == "token" else feat[field].mean()
                    feat[field] = feat[field].fillna(value)
        fill_nan(self)  # finds nothing left to fill

    Dataset._fill_nan = fill_and_assign


def sequence_lengths() -> None:
    """pandas 3 makes ``series.agg(len)`` the series' length, no longer each element's (pandas#57332, #53325).

    RecBole splits concatenated token and float sequences by these lengths.
    """
    from recbole.data.dataset import dataset, kg_dataset, sequential_dataset

    if not isinstance(pd.Series([[1, 2], [3]]).agg(len), int):
        return

    def len_of_each(sized: Any) -> Any:
        return sized.map(len) if isinstance(sized, pd.Series) else len(sized)

    for module in (dataset, kg_dataset, sequential_dataset):
        module.len = len_of_each


def dok_matrix_update() -> None:
    """SciPy 1.13 removed ``dok_matrix._update``, which seven graph models call (RUCAIBox/RecBole#2034)."""
    from scipy.sparse import dok_matrix

    if not hasattr(dok_matrix, "_update"):
        dok_matrix._update = lambda self, entries: self._dict.update(entries)


def ray_only_in_ray_sessions() -> None:
    """``recbole.quick_start`` imports ray to call one function (RUCAIBox/RecBole#1518, #2187, #2215).

    The pinned ray (<= 2.6.3) has no wheel for Python >= 3.12 and needs ``pkg_resources``, which setuptools
    dropped in version 81. A Ray session can only run in a process that has imported ray, so there the report
    goes to ray; everywhere else ``tune.report`` does nothing, ray stays unimported, and
    ``objective_function`` works under ``HyperTuning``.
    """
    if "ray" in sys.modules and sys.modules["ray"] is not None:
        return
    if "recbole.quick_start.quick_start" in sys.modules:
        return

    def report(**metrics: Any) -> None:
        if sys.modules.get("ray") is not None:
            from ray import tune

            tune.report(**metrics)

    tune = ModuleType("ray.tune")
    tune.report = report
    with stand_in_modules(ray={"tune": tune}):
        import recbole.quick_start  # noqa: F401


def scikit_learn_on_demand() -> None:
    """``recbole.evaluator`` imports scikit-learn, nearly a second and 45 MB a process, for three functions that few
    metrics call; they import it when they are called."""
    if "sklearn" in sys.modules or "recbole.evaluator.metrics" in sys.modules:
        return

    def on_demand(name: str) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            return getattr(import_module("sklearn.metrics"), name)(*args, **kwargs)

        return called

    metrics = ModuleType("sklearn.metrics")
    for name in ("auc", "mean_absolute_error", "mean_squared_error"):
        setattr(metrics, name, on_demand(name))
    with stand_in_modules(sklearn={"metrics": metrics}):
        import recbole.evaluator.metrics  # noqa: F401


def distutils_for_thop() -> None:
    """``thop``, with which RecBole counts FLOPs, imports ``distutils``, gone from Python 3.12 on."""
    if find_spec("distutils") is not None or find_spec("thop") is None:
        return
    from packaging.version import Version

    version = ModuleType("distutils.version")
    version.LooseVersion = Version
    with stand_in_modules(distutils={"version": version}):
        import thop  # noqa: F401


def exhaustive_search_generator() -> None:
    """HyperTuning's exhaustive search draws with a RandomState; hyperopt >= 0.2.7 draws with a Generator."""
    if find_spec("hyperopt") is None or tuple(map(int, metadata.version("hyperopt").split(".")[:3])) < (0, 2, 7):
        return
    from recbole.trainer import hyper_tuning

    random = ModuleView(np.random, RandomState=np.random.default_rng)
    hyper_tuning.np = ModuleView(np, random=random)


def mended_breaks_unreported() -> None:
    """Warnings from RecBole's own lines, of what is mended here or harmless, would appear in every run."""
    ours = [
        (pd.errors.ChainedAssignmentError, ""),
        (FutureWarning, r"`torch\.cuda\.amp"),  # still there in torch 2.13
        (UserWarning, "The given NumPy array is not writable"),  # RecBole never writes to these tensors
    ]
    for category, message in ours:
        warnings.filterwarnings("ignore", message=message, category=category, module=r"recbole\.")


def _chained_fillna_works() -> bool:
    frame = pd.DataFrame({"field": [np.nan]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame["field"].fillna(0, inplace=True)
    return not frame["field"].isna().any()


_patches = PatchSet(
    numpy_aliases,
    dok_matrix_update,
    torchvision_schemas,
    distutils_for_thop,
    scikit_learn_on_demand,
    ray_only_in_ray_sessions,
    missing_values_filled,
    sequence_lengths,
    exhaustive_search_generator,
    mended_breaks_unreported,
)
apply = _patches.apply
