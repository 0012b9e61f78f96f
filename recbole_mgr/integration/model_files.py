"""What a model reads beside RecBole's atomic files, so that a run is found by it and told before it lacks it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from recbole_mgr.data.features import feature_files, require_features


class ReadsFeatures:
    """Mixin of a RecBole model that reads the features of the modalities that it is set to, or none."""

    @classmethod
    def modalities_read(cls, settings: Mapping[str, Any]) -> list[str]:
        """The modalities whose features are read."""
        return settings.get("modalities") or []

    @classmethod
    def files_read(cls, settings: Mapping[str, Any]) -> dict[str, Path]:
        """Files and folders, beside those that RecBole loads, whose content decides what a run learns, by setting;
        those of the data set by name."""
        return files_of(cls.modalities_read(settings), settings)

    @classmethod
    def require_files(cls, settings: Mapping[str, Any]) -> None:
        """Refuse settings whose files are not there; raises ValueError naming the remedy."""
        for modality in cls.modalities_read(settings):
            require_features(Path(settings["data_path"]), settings["dataset"], modality)


def files_of(modalities: Iterable[str], settings: Mapping[str, Any]) -> dict[str, Path]:
    """The feature files of modalities by name."""
    files: dict[str, Path] = {}
    for modality in modalities:
        files |= feature_files(Path(settings["data_path"]), settings["dataset"], modality)
    return files
