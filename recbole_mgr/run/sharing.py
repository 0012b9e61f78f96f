"""A run as a folder to share, with a model card (``save_pretrained``); `Recommender.from_pretrained` reads it.

A run directory is portable as it is. What is shared leaves out what serves training alone, and whatever is known of
single users unless it is asked for.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import yaml

from recbole_mgr.documents import read_yaml
from recbole_mgr.files import write_text
from recbole_mgr.run.model_card import model_card
from recbole_mgr.serving.run_directory import HISTORIES_FILE, OLD_RATINGS_FILE, RATINGS_FILE, read_run
from recbole_mgr.serving.run_files import ABOUT_FILE, is_generative_run, read_about

CARD_FILE = "README.md"
CONFIG_FILE = "config.json"  # by which the hub counts and shows a model
_OF_TRAINING = ("*.pth", "ranking.npz", "result.json", "epochs.json", "evaluations", "training.npz", ".*")
_OF_USERS = (HISTORIES_FILE, Path(RATINGS_FILE).name, Path(OLD_RATINGS_FILE).name)
_LIBRARY = "recbole_mgr"


def save_pretrained(run_dir: str | Path, folder: str | Path, *, users: bool = False) -> Path:
    """Write a run as a folder to share.

    Args:
        run_dir: a finished run of one of our models.
        folder: made; it must not hold anything yet.
        users: keep the users' histories, ratings and reviews too. Share them only where the data's licence and the
            users' consent allow it.

    Returns:
        The folder; ``README.md`` in it is the model card.

    Raises:
        ValueError: If the run directory is not whole, the run is one of a baseline, or the folder holds something.
    """
    run_dir, folder = Path(run_dir), Path(folder)
    if not is_generative_run(run_dir):
        raise ValueError(
            f"{run_dir}: a run of {read_about(run_dir)['model']}, which scores every item; only runs of models that "
            "generate are shared. Copy the run directory as it is: recbole-mgr recommend serves it anywhere"
        )
    run = read_run(run_dir)  # damaged files are told now, and not to whoever gets them
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} holds files already; name a new folder")
    left_out = shutil.ignore_patterns(*_OF_TRAINING, *(() if users else _OF_USERS))
    shutil.copytree(run_dir, folder, ignore=left_out, dirs_exist_ok=True)
    about = read_yaml(folder / ABOUT_FILE, remedy="copy the run directory again")
    if "files" in about:
        about["files"] = {name: digest for name, digest in about["files"].items() if (folder / name).is_file()}
    if not users:
        about["users"] = None
    write_text(folder / ABOUT_FILE, yaml.safe_dump(about, sort_keys=False, allow_unicode=True))
    config = {"library_name": _LIBRARY, "model_type": run.about["model"], "data": run.about["data"]["label"]}
    write_text(folder / CONFIG_FILE, json.dumps(config, indent=2) + "\n")
    write_text(folder / CARD_FILE, model_card(run_dir, run, users=users))
    return folder


def push_to_hub(
    run_dir: str | Path,
    repository: str,
    *,
    private: bool = True,
    users: bool = False,
    token: str | None = None,
    message: str | None = None,
) -> str:
    """Put a run on the Hugging Face hub, with its model card.

    Args:
        run_dir: a finished run of one of our models.
        repository: ``owner/name``; made if need be.
        private: of a repository that is made.
        users: as of `save_pretrained`.
        token: of the hub; the one that is logged in by default.
        message: of the commit.

    Returns:
        The address of the commit.
    """
    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory() as parent:
        folder = save_pretrained(run_dir, Path(parent) / "run", users=users)
        hub = HfApi(token=token, library_name=_LIBRARY)
        hub.create_repo(repository, private=private, exist_ok=True)
        done = hub.upload_folder(repo_id=repository, folder_path=folder, commit_message=message or "Add the run")
    return str(done.commit_url)
