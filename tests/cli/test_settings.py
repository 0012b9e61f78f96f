"""``recbole-mgr settings``: the table of all keys."""

import pytest

from recbole_mgr.cli.main import main
from recbole_mgr.integration.config import default_settings, keys_of


@pytest.mark.parametrize("model", ["MGRLFpp", "UniMP", "SASRec"])
def test_a_model_shows_every_key_with_its_default(model, capsys):
    assert main(["settings", model]) == 0
    shown = capsys.readouterr().out
    for name, key in keys_of(model).items():
        assert f"\n{name} = " in f"\n{shown}" or f"\n{name}  (" in shown, name
        assert key.meaning.split()[0] in shown
    epochs = default_settings(model)["epochs"]
    assert f"\nepochs = {epochs}  (int)\n" in shown
    assert "eval_args.order = TO  (str)\n    By time (TO); ties keep the order of the file" in shown


def test_all_models_are_shown_in_sections(capsys):
    assert main(["settings"]) == 0
    shown = capsys.readouterr().out
    for title in (
        "Every model: evaluation",
        "Every generating model",
        "MGRLFpp",
        "UniMP",
        "quantizer_options of rqvae",
    ):
        assert f"{title}\n{'-' * len(title)}\n" in shown
    assert "recbole-mgr settings BPR" in shown


def test_wrong_use_is_told(capsys):
    assert main(["settings", "TIGRE"]) == 2
    assert "Did you mean TIGER" in capsys.readouterr().err
    assert main(["settings", "BPR", "--markdown"]) == 2
    assert "leave BPR out" in capsys.readouterr().err
