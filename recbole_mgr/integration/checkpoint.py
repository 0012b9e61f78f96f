"""Checkpoints that cannot run code: settings as plain data, everything else as tensors.

RecBole pickles its Config into every checkpoint, and loading a pickle runs whatever its author wrote into it.
Here a checkpoint holds numbers, strings, lists, dictionaries and tensors, so it loads with
``weights_only=True``, and the Config is rebuilt from its settings.
"""

import os
import pickle
import pickletools
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch
from recbole import utils
from recbole.config import Config
from torch import nn

from recbole_mgr.files import replacing

_ENUM_SETTINGS = {
    "MODEL_TYPE": utils.ModelType,
    "MODEL_INPUT_TYPE": utils.InputType,
    "eval_type": utils.EvaluatorType,
}
_PROCESS_SETTINGS = ("device", "local_rank", "single_spec", "world_size", "nproc", "offset", "ip", "port")
# Of a stranger's checkpoint: pickles of the data set, and reports to a service.
_WRITES_NOTHING = {
    "save_dataset": False,
    "save_dataloaders": False,
    "dataset_save_path": None,
    "dataloaders_save_path": None,
    "log_wandb": False,
}
_NUMPY = "numpy array"
_SCIPY = "scipy matrix"
_LONGEST_REASON = 300  # characters of an error that may list every weight


def save_checkpoint(state: dict[str, Any], path: str | os.PathLike) -> None:
    """Write a checkpoint that ``load_checkpoint`` reads without running code from it.

    The file appears under its name only when it is complete, so a run that is killed while it saves leaves
    the previous checkpoint as it was.

    Args:
        state: what to keep. A RecBole ``Config`` becomes the dictionary of its settings; NumPy arrays and
            SciPy matrices come back as such; sub-modules among a model's ``other_parameter`` are left out,
            because ``state_dict`` holds their weights.
        path: the file to write; its folder is created if need be.

    Raises:
        TypeError: If something in ``state`` is not plain data.
    """
    plain = _to_plain(state, "state")
    with replacing(Path(path)) as unfinished, open(unfinished, "wb") as file:  # torch writes a path's name into it
        torch.save(plain, file)


def load_checkpoint(path: str | os.PathLike, map_location: Any = None) -> dict[str, Any]:
    """Read a checkpoint that ``save_checkpoint`` wrote.

    Args:
        path: the file.
        map_location: the device its tensors go to, as for ``torch.load``.

    Returns:
        The saved state; ``config``, if there was one, is a dictionary (see ``rebuild_config``).

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file holds anything but plain data and tensors, or is no checkpoint at all.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path} does not exist")
    _refuse_damaged(path)
    try:
        plain = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"checkpoint {path} is refused: it names {_foreign_global(path)}, which is not plain data, so "
            "loading it could run code. Train the model again, or, if you trust its author, convert it in an "
            "isolated environment: torch.load(..., weights_only=False), then save_checkpoint of "
            "recbole_mgr.integration.checkpoint."
        ) from error
    except Exception as error:  # a parser may raise anything on damaged bytes
        raise ValueError(f"checkpoint {path} cannot be read; it may be cut short: {error}") from error
    return _from_plain(plain)


def take_weights(network: nn.Module, checkpoint: Mapping[str, Any]) -> None:
    """Give a RecBole model the weights of a checkpoint, and what it keeps beside them.

    Raises:
        KeyError: If the checkpoint holds no weights.
        RuntimeError: If they are another network's.
        ValueError: If the model refuses what stands beside them.
    """
    network.load_state_dict(checkpoint["state_dict"])
    network.load_other_parameter(checkpoint.get("other_parameter"))


def load_weights(network: nn.Module, path: str | os.PathLike, map_location: Any = None) -> None:
    """Give a RecBole model the weights that stand in a checkpoint.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: As :func:`load_checkpoint`, or naming a file with the weights of another network.
    """
    checkpoint = load_checkpoint(path, map_location)
    try:
        take_weights(network, checkpoint)
    except (AttributeError, KeyError, TypeError, RuntimeError) as error:
        why = " ".join(str(error).split())[:_LONGEST_REASON]
        raise ValueError(
            f"checkpoint {path}: not the weights of this {type(network).__name__} ({why}); restore the file, or train "
            "the model again"
        ) from error


def _refuse_damaged(path: Path) -> None:
    """Compare the checksum of each part of a checkpoint with its content: torch writes them and does not look.

    torch packs nothing, so that a file whose parts claim more than it has is no checkpoint, and may be a bomb.
    """
    claimed, damaged = 0, None
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                claimed = sum(part.file_size for part in archive.infolist())
                damaged = archive.testzip() if claimed <= path.stat().st_size else None
    except Exception as error:  # a parser may raise anything on damaged bytes
        damaged = str(error)
    if claimed > path.stat().st_size:
        raise ValueError(f"checkpoint {path} is refused: it would unpack to {claimed:,} bytes; copy it again")
    if damaged:
        raise ValueError(
            f"checkpoint {path} is damaged (checksum of {damaged}); copy it again, or remove it and run the same "
            "command again, which trains from the start"
        )


def plain_config(config: Config) -> dict[str, Any]:
    """The settings of a Config as plain data: enum members by name, the device as a string.

    Raises:
        TypeError: If a setting holds an object that is not plain data.
    """
    return {key: _to_plain(value, f"config[{key!r}]") for key, value in config.final_config_dict.items()}


def rebuild_config(plain: dict[str, Any]) -> Config:
    """The RecBole Config whose settings a checkpoint holds.

    No file and no command line is read. The device is chosen again for this machine, and a run that was
    distributed comes back as a single process. Nothing that a checkpoint says makes RecBole write a file or send
    anything anywhere.

    Args:
        plain: what ``plain_config`` returned.

    Returns:
        A Config that is equal in every setting but those of the device.

    Raises:
        ValueError: If a setting that every Config has is missing or is none of its values, or the data set's name is
            no name of a file.
    """
    settings = {key: value for key, value in plain.items() if key not in _PROCESS_SETTINGS}
    settings |= {key: value for key, value in _WRITES_NOTHING.items() if key in settings}
    try:
        for key, enum in _ENUM_SETTINGS.items():
            settings[key] = enum[settings[key]]
        name = settings["dataset"]
    except KeyError as error:
        raise ValueError(f"the checkpoint's settings lack {error}, or it is no such value; copy it again") from error
    if not isinstance(name, str) or not name or Path(name).name != name:  # it names files, the log among them
        raise ValueError(f"the checkpoint's data set is called {name!r}, which is no name; copy it again")
    config = Config.__new__(Config)
    config.compatibility_settings()
    config._init_parameters_category()
    config.yaml_loader = config._build_yaml_loader()
    config.final_config_dict = settings
    config.model, config.dataset = settings["model"], settings["dataset"]
    config.model_class = utils.get_model(config.model)
    config._init_device()
    return config


def _to_plain(value: Any, place: str) -> Any:
    match value:
        case None | bool() | int() | float() | str() if type(value).__module__ == "builtins":
            return value
        case torch.Tensor():
            return value
        case Config():
            return plain_config(value)
        case Enum():
            return value.name
        case torch.device() | os.PathLike():
            return str(value)
        case np.generic():
            return value.item()
        case np.ndarray():
            return {_NUMPY: torch.from_numpy(np.array(value))}
        case _ if scipy.sparse.issparse(value):
            coo = value.tocoo()
            entries = [torch.from_numpy(np.array(part)) for part in (coo.data, coo.row, coo.col)]
            return {_SCIPY: value.format, "shape": list(coo.shape), "entries": entries}
        case Mapping():
            if value and all(isinstance(item, torch.Tensor) for item in value.values()):
                return value  # a state_dict, whose version metadata would not survive a copy
            return {
                _to_plain(key, place): _to_plain(item, f"{place}[{key!r}]")
                for key, item in value.items()
                if not isinstance(item, nn.Module)
            }
        case list() | tuple():
            items = [_to_plain(item, f"{place}[{index}]") for index, item in enumerate(value)]
            return items if isinstance(value, list) else tuple(items)
    raise TypeError(
        f"{place} is a {type(value).__name__}, which a checkpoint cannot hold: "
        "use numbers, strings, lists, dictionaries, tensors or arrays"
    )


def _from_plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_from_plain(item) for item in value)
    if not isinstance(value, dict):
        return value
    if _NUMPY in value:
        return value[_NUMPY].numpy(force=True)
    if _SCIPY in value:
        data, row, col = (part.numpy(force=True) for part in value["entries"])
        return scipy.sparse.coo_matrix((data, (row, col)), shape=value["shape"]).asformat(value[_SCIPY])
    if all(isinstance(item, torch.Tensor) for item in value.values()):
        return value
    return {key: _from_plain(item) for key, item in value.items()}


def _foreign_global(path: Path) -> str:
    """The first class or function in a refused file that is not torch's; nothing of the file is executed."""
    with suppress(ValueError, IndexError):  # it need not be a pickle at all
        for name in _globals_of(_pickle_in(path)):
            if not name.startswith(("torch.", "collections.")):
                return name
    return "something unknown"


def _pickle_in(path: Path) -> bytes:
    if not zipfile.is_zipfile(path):
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        return b"".join(archive.read(name) for name in archive.namelist() if name.endswith("/data.pkl"))


def _globals_of(content: bytes) -> Iterator[str]:
    pushed, memo = [], []
    for operation, argument, _ in pickletools.genops(content):
        match operation.name:
            case "GLOBAL":
                pushed.append(argument.replace(" ", "."))
                yield pushed[-1]
            case "STACK_GLOBAL":
                pushed.append(f"{pushed[-2]}.{pushed[-1]}")
                yield pushed[-1]
            case "MEMOIZE":
                memo.append(pushed[-1])
            case "BINGET" | "LONG_BINGET" if argument < len(memo):
                pushed.append(memo[argument])
            case _:
                pushed.append(argument)
