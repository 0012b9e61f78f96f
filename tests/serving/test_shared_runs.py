import socket

import numpy as np
import pytest
import yaml
from safetensors import safe_open

from recbole_mgr.cli.main import main
from recbole_mgr.run.results import RunResult
from recbole_mgr.run.sharing import save_pretrained
from recbole_mgr.serving import Recommender, load
from recbole_mgr.serving.run_files import ABOUT_FILE, FORMAT


def test_a_shared_folder_gives_equal_lists_and_tells_nothing_of_users(run, tmp_path, monkeypatch):
    shared = save_pretrained(run.folder, tmp_path / "shared")
    names = {path.name for path in shared.rglob("*")}
    assert names.isdisjoint({"histories.npz", "ratings_and_reviews.npz", "ranking.npz", "result.json"})
    assert not [name for name in names if name.endswith(".pth")]
    user = sorted(run.histories)[0]
    content = b"".join(path.read_bytes() for path in shared.rglob("*") if path.is_file())
    assert not any(f"{user}{end}".encode() in content for end in ("\n", "\t", " ", '"'))
    monkeypatch.setattr(socket, "socket", None)  # offline
    recommender = Recommender.from_pretrained(shared, device="cpu")
    histories = list(run.histories.values())[:4]
    expected = load(run.folder, device="cpu").recommend(histories=histories)
    assert recommender.recommend(histories=histories).item_ids == expected.item_ids
    with pytest.raises(ValueError, match="keeps no histories"):
        recommender.recommend(users=[user])
    with safe_open(shared / "model.safetensors", framework="pt") as file:
        assert file.keys()


def test_users_are_shared_only_where_that_is_asked_for(run, tmp_path):
    shared = save_pretrained(run.folder, tmp_path / "shared", users=True)
    user = sorted(run.histories)[0]
    assert load(shared, device="cpu").history_of(user) == run.histories[user]
    assert "histories are in this folder" in (shared / "README.md").read_text()


def test_the_card_says_what_was_measured(run, tmp_path):
    card = (save_pretrained(run.folder, tmp_path / "shared") / "README.md").read_text()
    head = yaml.safe_load(card.split("---\n")[1])
    assert head["library_name"] == "recbole_mgr"
    assert head["license_name"] == "none"
    result = RunResult.load(run.folder)
    found = (result.ranks > 0) & (result.ranks <= 10)
    assert f"| Recall@10 | {found.mean():.4f} |" in card
    gains = np.where(found, 1 / np.log2(np.maximum(result.ranks, 1) + 1), 0)
    assert f"| NDCG@10 | {gains.mean():.4f} |" in card
    assert "made up for tests" in card
    assert "histories are not in this folder" in card
    assert "data_path" not in card
    assert "Recommender.from_pretrained" in card
    settings = yaml.safe_load(card.split("```yaml\n")[1].split("```")[0])
    assert settings["backbone"] == "hierarchical" and settings["seed"] == result.seed
    assert settings.keys().isdisjoint({"USER_ID_FIELD", "MODEL_TYPE", "gpu_id", "data_path", "checkpoint_dir"})


def test_the_card_says_what_the_paper_does_not_have(popular_run, tmp_path):
    card = (save_pretrained(popular_run.folder, tmp_path / "shared") / "README.md").read_text()
    assert "Of recbole_mgr, and not of the paper: a backbone with one position per item" in card
    assert "popularity. It was ranked with priors" in card and "weights (given): codes 1, popularity 0.5." in card


def test_errors(run, tmp_path, monkeypatch):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="holds files already"):
        save_pretrained(run.folder, tmp_path)
    with pytest.raises(ValueError, match="no such folder, and not to be had from the hub"):
        Recommender.from_pretrained("nobody/nothing", local_files_only=True)
    with pytest.raises(ValueError, match="no such folder"):
        Recommender.from_pretrained("../no such place")


def test_command(run, tmp_path, capsys):
    assert main(["share", str(run.folder), str(tmp_path / "shared")]) == 0
    assert "README.md" in capsys.readouterr().out
    assert main(["share", str(run.folder)]) == 2
    assert "a folder, or --hub" in capsys.readouterr().err


def test_a_run_of_a_baseline_is_refused_with_what_to_do_instead(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ABOUT_FILE).write_text(yaml.safe_dump({"format": FORMAT, "model": "Popularity"}))
    with pytest.raises(ValueError, match="a run of Popularity, which scores every item; .* serves it anywhere"):
        save_pretrained(tmp_path / "run", tmp_path / "shared")
    assert not (tmp_path / "shared").exists()
