"""Processes that keep a part of UniMP's parameters each train, resume, rank and keep what one process does."""

import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from as_alone import assert_as_alone
from packaging.version import Version
from parallel_work import commanded, trained
from tiny_shop import shop_settings, write_shop
from together import together
from transformers import AutoModelForCausalLM, GPT2Config

from recbole_mgr.integration.checkpoint import load_checkpoint
from recbole_mgr.integration.sharded import ShardedModel
from recbole_mgr.serving import load
from recbole_mgr.unimp.tokenizer import train_tokenizer

SMALL = ("tasks", "n_layers", "n_heads", "cross_attention_every", "bpe_vocabulary", "history_items", "beam_size")


@pytest.fixture(scope="module")
def shop(tmp_path_factory, write_dataset):
    folder = tmp_path_factory.mktemp("shop")
    write_shop(folder, write_dataset)
    return folder


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def pretrained(folder: Path) -> Path:
    """Write a language model of two layers, whose embeddings are its output layer as well."""
    tokenizer = train_tokenizer(["red soap", "blue balm"], vocabulary_size=300)
    shape = {"vocab_size": len(tokenizer), "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 320}
    no_dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    config = GPT2Config(bos_token_id=None, eos_token_id=None, **shape, **no_dropout)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


has_fsdp = pytest.mark.skipif(
    Version(torch.__version__) < Version("2.6"), reason="PyTorch has FSDP2 under this name since 2.6"
)


@has_fsdp
@pytest.mark.parametrize("lm_training", ["full", "lora"])
def test_they_train_what_one_trains_and_keep_half_each(lm_training, shop, tiny_settings, tmp_path):
    changes = {"tasks": ["recommendation", "explanation"], "epoch_rows": 20, "clip_grad_norm": {"max_norm": 1.0}}
    if lm_training == "lora":  # beside a prior, whose weight is chosen on validation
        changes |= {"language_model": str(pretrained(tmp_path)), "lm_training": "lora", "memory": True}
        changes["lora_options"] = {"lora_dropout": 0.0, "fan_in_fan_out": True}
    settings = shop_settings(tiny_settings, shop, checkpoint_dir="saved", fsdp=True, epochs=1, **changes)
    alone, answers = trained("UniMP", settings), together(2, trained, "UniMP", settings)
    assert_as_alone(alone, answers)
    for answer in answers:
        assert answer["own parameters"] == pytest.approx(alone["own parameters"] / 2, rel=0.03)


def run_of(name: str) -> Path:
    (result,) = Path(name).glob("*/UniMP-*/seed-*/result.json")
    return result.parent


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@has_fsdp
def test_they_leave_the_run_directory_of_one_and_resume_bit_for_bit(shop, tiny_settings):
    tasks = ["recommendation", "preference", "explanation"]
    settings = shop_settings(tiny_settings, shop, tasks=tasks, epochs=2, epoch_rows=16, task_cases=4, num_threads=1)
    own = {name: settings.pop(name) for name in SMALL}
    Path("own.yaml").write_text(json.dumps({**settings, **own, "floors": False}))
    command = ["run", "--model=UniMP", "--dataset=tiny", "--config_files=own.yaml"]
    shared = [*command, "--fsdp=True"]
    assert commanded([*command, "--checkpoint_dir=alone"])[0] == 0
    answers = together(2, commanded, [*shared, "--checkpoint_dir=together"], join=False)
    assert [answer[0] for answer in answers] == [0, 0], answers
    assert files(Path("together")) == files(Path("alone"))  # in a folder of the same name: it learns the same
    one, two = (load_checkpoint(run_of(name) / "best.pth") for name in ("alone", "together"))
    for name, weight in one["state_dict"].items():
        torch.testing.assert_close(two["state_dict"][name], weight, rtol=1e-3, atol=2e-5)
    for number, state in one["optimizer"]["state"].items():
        for name, value in state.items():
            assert two["optimizer"]["state"][number][name].shape == value.shape
    results = [json.loads((run_of(name) / "result.json").read_text()) for name in ("alone", "together")]
    for one, two in zip(*(result["tasks"] for result in results), strict=True):
        for name, metric in one["metrics"].items():
            assert two["metrics"][name]["value"] == pytest.approx(metric["value"], abs=1e-3), name
    assert load(run_of("together"), device="cpu").recommend(users=["u1"], k=3).item_ids[0]

    answers = together(2, commanded, [*shared, "--checkpoint_dir=killed"], 5, join=False)  # in the second epoch
    assert answers[1] is None and answers[0][0] == 2
    answers = together(2, commanded, [*shared, "--checkpoint_dir=killed"], join=False)
    assert [answer[0] for answer in answers] == [0, 0], answers
    killed, whole = (load_checkpoint(run_of(name) / "best.pth")["state_dict"] for name in ("killed", "together"))
    assert all(torch.equal(killed[name], weight) for name, weight in whole.items())
    with np.load(run_of("killed") / "ranking.npz") as lists, np.load(run_of("together") / "ranking.npz") as others:
        assert all(np.array_equal(lists[name], others[name]) for name in others.files)


def test_a_pytorch_without_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.distributed.fsdp", ModuleType("older"))
    with pytest.raises(ValueError, match=r"fsdp: PyTorch \S+ does not have it; install 2\.6 or later"):
        ShardedModel(torch.nn.Linear(1, 1), torch.device("cpu"))
