"""Write ``docs/settings.md`` and the comments of the property files from the settings schema."""

from pathlib import Path

from recbole_mgr.reporting.settings_page import page
from recbole_mgr.settings import GROUPS
from recbole_mgr.settings.tables import commented

ROOT = Path(__file__).resolve().parents[1]


def written_files() -> dict[Path, str]:
    """The files that the schema makes, and what they should hold."""
    properties = [ROOT / "properties" / "overall.yaml", *sorted((ROOT / "properties" / "model").glob("*.yaml"))]
    files = {ROOT / "docs" / "settings.md": page()}
    for file in properties:
        group = GROUPS.get(file.stem, GROUPS["GenerativeRecommender"])
        files[file] = commented(file.read_text(encoding="utf-8"), group.all())
    return files


if __name__ == "__main__":
    for path, text in written_files().items():
        path.write_text(text, encoding="utf-8")
