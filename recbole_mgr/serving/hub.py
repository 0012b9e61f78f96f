"""Runs from the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path


def fetched(
    name: str | Path, *, revision: str | None = None, token: str | None = None, local_files_only: bool = False
) -> Path:
    """The run directory of a name: a folder as it is, or a repository of the Hugging Face hub, fetched.

    Args:
        name: a folder, or ``owner/name`` on the hub.
        revision: branch, tag or commit on the hub.
        token: for private repositories.
        local_files_only: take what was fetched before, without the network.

    Raises:
        ValueError: If there is no such folder, and none can be fetched.
    """
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            str(name),
            revision=revision,
            token=token,
            local_files_only=local_files_only,
            allow_patterns=["*.yaml", "*.tsv", "*.npz", "*.safetensors", "*.json", "*.md", "unimp/*"],
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"{name}: no such folder, and not to be had from the hub ({reason}); name a folder, or check the name, the "
            "token and the network"
        ) from error
    return Path(folder)
