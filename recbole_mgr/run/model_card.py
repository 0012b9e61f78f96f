"""The card of a shared run: what it is, what it learned from, how good it is, its limits, and how to use it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from recbole_mgr.cleaners import for_markdown
from recbole_mgr.run.results import RunResult
from recbole_mgr.run.statistics import half_width, hits_and_gains
from recbole_mgr.semantic_id.report import format_report, table_report
from recbole_mgr.serving.run_directory import Run
from recbole_mgr.settings import GROUPS
from recbole_mgr.settings.model_keys import GenerativeRecommender
from recbole_mgr.settings.recbole_keys import Evaluation, Filters, Training

_OURS = {  # setting -> its value that the papers do not have -> what that is
    "backbone": ("hierarchical", "a backbone with one position per item"),
    "code_softmax": ("legal", "codes normalised over those that exist"),
    "learn_repeats": (True, "learned repeats"),
    "item_softmax": (True, "a softmax over the items"),
    "memory": (True, "a closed-form memory of which items follow which"),
    "popularity": (True, "popularity"),
}
_SOURCES = {
    "TIGER": "TIGER (arXiv 2305.05065)",
    "MGREF": "MGR-EF (arXiv 2503.23333)",
    "MGRLF": "MGR-LF (arXiv 2503.23333)",
    "MGRLFpp": "MGR-LF++ (arXiv 2503.23333)",
    "UniMP": "UniMP (arXiv 2403.10667)",
}


def model_card(run_dir: Path, run: Run, *, users: bool) -> str:
    """A model card in the hub's form: Markdown with a YAML head.

    Args:
        run_dir: of the run; its results are told where they are there.
        run: as read from it.
        users: whether what is shared holds the users' histories.
    """
    about, table = run.about, run.network.semantic_ids
    model, data = about["model"], about["data"]
    details = data.get("details") or {}
    environment = about.get("environment") or {}
    licence = str(details.get("licence", "")).strip()
    result = RunResult.load(run_dir) if RunResult.exists(run_dir) else None
    head: dict[str, Any] = {
        "library_name": "recbole_mgr",
        "tags": ["recommendation", "generative-retrieval", "semantic-ids", model.lower()],
        "license": "other",
        "license_name": for_markdown(licence) or "unknown",
    }
    parts = [
        f"# {model} on {for_markdown(str(data['label']))}",
        f"{_SOURCES.get(model, model)}: recommends the next item of a history, among the {table.num_items:,} items "
        "that it was trained on. An item is a semantic ID, a short sequence of codes made from its features, and the "
        "model has learned to generate that of the next item digit by digit. Trained and tested with recbole_mgr, a "
        "plugin of RecBole.",
        *_what_is_ours(run),
        "## Use",
        "It needs recbole_mgr and RecBole 1.2.1, and nothing else of this run.",
        "```python\nfrom recbole_mgr.serving import Recommender\n\n"
        'recommender = Recommender.from_pretrained("<this repository or folder>")\n'
        f"lists = recommender.recommend(histories=[[{_in_code(table.item_tokens[0])}]], k=5)\n"
        "print(lists.item_ids[0], lists.titles[0])\n```",
        "## Data",
        f"- {for_markdown(str(data['label']))}: {for_markdown(str(details.get('source', 'no source is named')))}",
        f"- Licence of the data: {for_markdown(licence) or 'not named; ask before you pass the model on'}",
        f"- Fingerprint of the files: {for_markdown(str(data['fingerprint']))}",
        f"- Users' histories are {'in this folder' if users else 'not in this folder'}.",
        "## Results",
        *_results(result),
        "## Semantic IDs",
        f"```\n{format_report(table_report(table))}\n```",
        "## Limits",
        "- It knows the items of its catalogue, and new ones only where they are let in with vectors that were encoded "
        "as the catalogue's were.",
        "- It repeats what its data prefer: popular items, and whatever bias the histories have.",
        "- Results hold for this data set and this split, and say nothing about another shop.",
        *(["- The data are synthetic: no shop, product or user in it exists."] if details.get("synthetic") else []),
        "## Settings",
        f"```yaml\n{yaml.safe_dump(_settings(run.settings), sort_keys=True, allow_unicode=True)}```",
        f"Made with {', '.join(for_markdown(f'{key} {value}') for key, value in environment.items())}.",
    ]
    return (
        f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---\n\n" + "\n\n".join(_joined(parts)) + "\n"
    )


def _results(result: RunResult | None) -> list[str]:
    if result is None or not len(result.users):
        return ["The results are not beside the run, or it does not recommend."]
    cut = 10 if 10 in result.settings["topk"] else max(result.settings["topk"])
    rows = []
    for metric, values in zip(("Recall", "NDCG"), hits_and_gains(result.ranks, cut), strict=True):
        name, half = f"{metric}@{cut}", half_width(values) if len(values) > 1 else 0.0
        masked = result.test_masked.get(name.lower())
        other = "" if masked is None else f"{masked:.4f}"
        rows.append(
            f"| {name} | {values.mean():.4f} | {values.mean() - half:.4f} to {values.mean() + half:.4f} | {other} |"
        )
    protocol = result.settings["eval_args"]
    split = f"split {protocol['split']}"
    if protocol["split"] == {"LS": "valid_and_test"} and protocol["order"] == "TO":
        split = "the last item of each user is the target, the one before it served validation"
    return [
        "| metric | test | 95 % interval over users | seen items masked |\n|---|---|---|---|\n" + "\n".join(rows),
        f"Item-level, {len(result.users):,} users, one target each, ranked among {result.num_items:,} items "
        f"({protocol['mode']['test']}); {split}; seed {result.seed}; chosen on validation "
        f"({result.settings['valid_metric']}). One seed: what another seed would change is not in the interval.",
    ]


def _what_is_ours(run: Run) -> list[str]:
    """What the papers' models do not have, and what ranks the items beside the codes."""
    ours = [what for key, (value, what) in _OURS.items() if run.settings.get(key) == value]
    ours += ["vectors of the trie's branches"] if run.settings.get("branch_size") else []
    told = [f"Of recbole_mgr, and not of the paper: {', '.join(ours)}."] if ours else []
    return [" ".join([*told, *(f"It was {note}." for note in run.network.notes)])] if told or run.network.notes else []


def _settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Those that say what was learned and how it was tested; nothing of the machine."""
    groups = GROUPS.get(settings["model"], GenerativeRecommender).__mro__
    own = [group for group in groups if issubclass(group, GenerativeRecommender)]
    names = {"seed"} | {name for group in (*own, Training, Evaluation, Filters) for name in group.own()}
    return {key: value for key, value in settings.items() if key in names and value is not None}


def _in_code(text: str) -> str:
    """A string of Python that ends no block of code."""
    return json.dumps(text).replace("`", "\\u0060")


def _joined(parts: list[str]) -> list[str]:
    """Parts as paragraphs; points of a list stay together."""
    joined: list[str] = []
    for part in parts:
        if part.startswith("- ") and joined and joined[-1].startswith("- "):
            joined[-1] += "\n" + part
        else:
            joined.append(part)
    return joined
