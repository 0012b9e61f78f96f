"""UniMP: one vision-language model for six personalisation tasks.

Source: Wei et al., "Towards Unified Multi-Modal Personalization" (ICLR 2024, arXiv 2403.10667). A causal language model
reads a user's items as pictures, attributes and answers, and answers questions about them: what they take next, what
matches their query, how they rate an item and why, which candidates they would choose, what picture they would like.

Deviations, each a setting: items have semantic IDs, decoded along the catalogue's trie, so that every answer is an
item (``item_ids: atomic`` is the paper's one token per item, still decoded along the trie); a digit is normalised over
the codes the trie allows (``code_softmax: full`` trains it over the whole vocabulary, as the paper); the closing
question sees all pictures of the history (``closing_sees: last``) unless it is about one item; every item of a row is
followed by the question (``ask_after: last``); the language model is a small one trained from scratch
(``language_model`` names a pretrained one), and then the gates of the pictures start open (``gate_start: 0``). History
answers are shown in use as in training; the reference code drops them at test.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_mgr.data.features import feature_files
from recbole_mgr.data.table import AtomicFormat, read_header
from recbole_mgr.generation.priors import DensePrior, Prior
from recbole_mgr.model.generative import GenerativeRecommender
from recbole_mgr.model.priors import PartWeights
from recbole_mgr.model.ranking import CODES
from recbole_mgr.semantic_id.table import SemanticIdTable
from recbole_mgr.unimp.backbone import Prompt, PromptBackbone
from recbole_mgr.unimp.focal_loss import focal_loss, target_log_prob
from recbole_mgr.unimp.item_words import require_fields
from recbole_mgr.unimp.language_model import (
    LanguageModelSettings,
    apply_training,
    base_fingerprint,
    decoder_layers,
    make_language_model,
)
from recbole_mgr.unimp.new_tokens import extend_vocabulary
from recbole_mgr.unimp.personal_data import PersonalData
from recbole_mgr.unimp.query_match import QueryMatch
from recbole_mgr.unimp.rows import Row, RowBatch
from recbole_mgr.unimp.settings import check_unimp_settings
from recbole_mgr.unimp.tasks import TASKS, make_tasks, needs_of, ranking_tasks
from recbole_mgr.unimp.tasks.rating_baseline import best_on_validation
from recbole_mgr.unimp.tasks.rating_line import RatingLine
from recbole_mgr.unimp.tasks.recommendation import RecommendationTask
from recbole_mgr.unimp.token_meanings import meanings_of_new_tokens
from recbole_mgr.unimp.tokenizer import require_tokenizer
from recbole_mgr.unimp.transfer import refuse_unlike
from recbole_mgr.unimp.vision import VisualConditioning
from recbole_mgr.unimp.visual_features import require_visual_features

FOLDER = "unimp"  # of a run directory
QUERY_WORDS = "query_words"  # the prior of a search


class _Targets(NamedTuple):
    """Target tokens of a batch, T of them.

    Attributes:
        token_ids: int64 [T].
        words: int64 [n], where those stand that are no digit.
        digits: for each digit of a semantic ID where it is a choice: the places, the trie's nodes and the codes,
            int64 [n] each.
        tasks: int64, the task of each token that counts, words first and then digit by digit.
    """

    token_ids: Tensor
    words: Tensor
    digits: list[tuple[Tensor, Tensor, Tensor]]
    tasks: Tensor


class UniMP(GenerativeRecommender):
    """Generates the next item's semantic ID from a prompt, and answers the other tasks' questions.

    Args:
        config: RecBole's Config with the keys of ``properties/model/UniMP.yaml``.
        dataset: holds ``semantic_ids`` and ``personal`` (`PersonalData`): catalogue, vocabulary and tokenizer, and for
            training the users' sequences.

    Attributes:
        personal: the data set's.
        backbone: the language model with its pictures.
        task_names: the run's tasks; a batch holds indices into them.
        ranking_task: whose prompts :meth:`generate`, :meth:`predict` and RecBole's evaluation answer: recommendation,
            else search, or None where the run has neither. :meth:`ranking_by` is the same network for another task.
        initial_data: label of the data set that the weights were trained on from which this network starts its
            training (``initial_run``); None where it starts from nothing.

    Raises:
        ValueError: If the data set brings no texts and pictures of its items.
    """

    fusion = "early"  # short IDs that hold both modalities
    backbones = ("prompt",)
    takes_new_items = False

    @classmethod
    def check_settings(cls, settings: dict[str, Any]) -> None:
        super().check_settings(settings)
        check_unimp_settings(settings)

    @classmethod
    def modalities_read(cls, settings: Mapping[str, Any]) -> list[str]:
        return super().modalities_read(settings) if settings["item_ids"] == "semantic" else []

    @classmethod
    def require_files(cls, settings: Mapping[str, Any]) -> None:
        super().require_files(settings)
        if settings["image_features"] and settings["image_attention"] != "none":
            require_visual_features(Path(settings["data_path"]), settings["dataset"], settings["image_features"])
        if settings["language_model"]:
            require_tokenizer(settings["language_model"])
        items = Path(settings["data_path"]) / f"{settings['dataset']}.item"
        require_fields(items, read_header(items, AtomicFormat.of(settings)), settings["text_fields"])
        for name in settings["tasks"]:
            TASKS[name].require_files(settings)

    @classmethod
    def check_initial_run(cls, folder: Path, initial: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        """Refuse an ``initial_run``, its folder and its settings, that these settings do not fit."""
        refuse_unlike(folder, initial, settings)

    @classmethod
    def files_read(cls, settings: Mapping[str, Any]) -> dict[str, Path]:
        folder, name = Path(settings["data_path"]), settings["dataset"]
        files = super().files_read(settings) if settings["item_ids"] == "semantic" else {}
        files[f"{name}.item"] = folder / f"{name}.item"
        if "reviews" in needs_of(settings["tasks"]):
            files[f"{name}.review"] = folder / f"{name}.review"
        if settings["image_features"] and settings["image_attention"] != "none":
            files |= feature_files(folder, name, settings["image_features"])
        for key in ("picture_codec", "language_model"):
            if settings[key] and Path(settings[key]).exists():  # else a hub's name
                files[key] = Path(settings[key])
        if settings["initial_run"]:  # whose weights know its quantisers and words
            files["initial_run"] = Path(settings["initial_run"]) / "model.safetensors"
        if "pictures" in needs_of(settings["tasks"]):
            files["images"] = folder / "images"
        return files

    @classmethod
    def load_extra_state(cls, run_dir: Path, table: SemanticIdTable) -> PersonalData:
        return PersonalData.load(run_dir / FOLDER, table)

    def save_extra_state(self, run_dir: Path, interactions: np.ndarray | None) -> None:
        self.personal.save(run_dir / FOLDER, interactions)

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        self.personal = dataset.personal
        self.task_names = config["tasks"]
        self.focal_gamma = config["focal_gamma"]
        weights = [config["task_weights"].get(name, TASKS[name].loss_weight) for name in self.task_names]
        self.register_buffer("task_weights", torch.tensor(weights, dtype=torch.float32), persistent=False)  # [tasks]
        # what a checkpoint holds means something only beside the weights that it leaves out
        digest = bytes.fromhex(base_fingerprint(self.backbone.lm))
        self.register_buffer("base_fingerprint", torch.tensor(list(digest), dtype=torch.uint8))  # [32]
        self.rating_line = self._rating_line(config) if config["rating_bias"] else None
        ranking = ranking_tasks(self.task_names)
        self.ranking_task = make_tasks(ranking[:1], self.personal, config)[0] if ranking else None
        initial = getattr(dataset, "initial_run", None)  # which a run directory, read to be used, does not know
        self.initial_data = None if initial is None else initial.data
        if initial is not None:
            initial.give_to(self)

    def _build_priors(self, config, dataset) -> None:
        super()._build_priors(config, dataset)
        self.search_weights, self.query_match = None, None
        if not config[QUERY_WORDS]:
            return
        parts = [CODES, QUERY_WORDS, *(part for part in ("memory", "popularity") if config[part])]
        self.search_weights = PartWeights(parts, self._weights_given)
        self.query_match = QueryMatch(dataset.personal.catalogue, dataset.personal.vocabulary.size)
        if not config["popularity"]:
            self._count_items(dataset)

    def _rating_line(self, config) -> RatingLine:
        task, data = make_tasks(["preference"], self.personal, config)[0], self.personal
        is_learning = bool(data.sequences("train"))  # else it is read from a run directory
        return RatingLine(data.table.num_items, best_on_validation(data, task.cases("valid")) if is_learning else None)

    def _count_items(self, dataset) -> None:
        counts = torch.from_numpy(dataset.personal.training_popularity())
        self.register_buffer("item_counts", counts.float())  # [N + 1]

    def _build_backbone(self, config, dataset) -> PromptBackbone:
        personal = dataset.personal
        if personal is None:
            raise ValueError(
                "UniMP knows its items by their texts and pictures, so new items cannot be added to a trained run; "
                "train again with them in the data set"
            )
        settings = LanguageModelSettings.from_config(config)
        vocabulary, pad_token_id = personal.vocabulary, personal.tokenizer.pad_token_id
        lm = make_language_model(settings, vocabulary_size=vocabulary.base_size, pad_token_id=pad_token_id)
        apply_training(lm, settings)
        is_learning = bool(personal.sequences("train"))  # else all rows are read from a run directory
        meanings = meanings_of_new_tokens(personal) if settings.is_pretrained and is_learning else ()
        extend_vocabulary(lm, vocabulary.num_new, meanings)
        vision = None
        if config["image_attention"] != "none" and personal.catalogue.has_image.any():
            gate_start = config["gate_start"]
            if gate_start is None:  # closed gates shield what a language model has learned, and hold up a random one
                gate_start = 0.0 if settings.is_pretrained else 0.3
            vision = VisualConditioning(
                lm,
                every_n=config["cross_attention_every"],
                visual_dim=personal.catalogue.visual_shape[1],
                latents=config["visual_latents"],
                resampler_layers=config["resampler_layers"],
                heads=config["n_heads"],
                inner_size=config["inner_size"] if settings.language_model is None else None,
                dropout=config["attn_dropout_prob"],
                gate_start=gate_start,
            )
        return PromptBackbone(
            lm=lm,
            vision=vision,
            features=personal.catalogue.features,
            vocabulary=vocabulary,
            codes=self.semantic_ids.codes,
            pad_token_id=pad_token_id,
        )

    @property
    def layers_to_share(self) -> list[nn.Module]:
        """The modules that processes gather one after another where they share the parameters: the language model's
        layers, and most of what stands before them to see pictures."""
        vision = [] if self.backbone.vision is None else [block.feed_forward for block in self.backbone.vision.blocks]
        return [*decoder_layers(self.backbone.lm), *vision]

    def ranking_by(self, task: RecommendationTask) -> UniMP:
        """The network with another :attr:`ranking_task`: it shares all weights, and this one stays as it is, so that
        requests of several threads do not see each other."""
        other = copy.copy(self)
        other.ranking_task = task
        return other

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """Focal loss of a batch that a `RowBatch` was wrapped into; see :meth:`loss`."""
        return self.loss(RowBatch.from_interaction(interaction))

    def loss_of_part(self, part: Interaction, whole: Interaction, counts: bool) -> Tensor:
        """What a process adds to the loss of a batch, whose tasks and target tokens are counted over the whole."""
        return counts * self.loss(RowBatch.from_interaction(part), RowBatch.from_interaction(whole))

    def loss(self, batch: RowBatch, whole: RowBatch | None = None) -> Tensor:
        """Focal loss of a batch: of each task the mean over its target tokens, and of the tasks the mean over the rows.

        So a task counts by its rows, as where each batch holds one task (the reference code), and not by how much it
        has to say: the few tokens of a choice would drown in those of the explanations beside them.

        Args:
            batch: rows with their true answers.
            whole: the batch of which these rows are a part, where they are; the losses of its parts add up to its own.

        Returns:
            float32 scalar. Under ``code_softmax: legal`` a digit that the trie leaves no choice is no target token: it
            has probability 1 and would only thin out the mean.
        """
        targets = self._targets(batch)
        hidden = self.backbone.hidden(batch)[:, :-1][batch.is_target[:, 1:]]  # [T, H]
        log_prob = [target_log_prob(self.backbone.head, hidden[targets.words], targets.token_ids[targets.words])]
        for depth, (place, nodes, codes) in enumerate(targets.digits):
            logits = self.backbone.head.logits(hidden[place], self.personal.vocabulary.digit_ids(depth))  # [n, K]
            log_prob.append(self.trie.log_prob(depth, nodes, logits, codes, "legal"))
        of_whole = targets if whole is None else self._targets(whole)
        weights = self._task_weights((batch if whole is None else whole).task, of_whole.tasks)
        loss = focal_loss(torch.cat(log_prob), weights[targets.tasks], self.focal_gamma)
        return loss if whole is None else loss * (len(targets.tasks) / max(1, len(of_whole.tasks)))

    def _task_weights(self, row_tasks: Tensor, token_tasks: Tensor) -> Tensor:
        """Weights of the tokens of each task, where the target tokens of a batch are of ``token_tasks`` [T] and its
        rows of ``row_tasks`` [B]: 1 on average over the tokens, but for the tasks' own weights."""
        rows = torch.bincount(row_tasks, minlength=len(self.task_names)) / len(row_tasks)
        tokens = torch.bincount(token_tasks, minlength=len(self.task_names)) / max(1, len(token_tasks))
        return self.task_weights * rows / tokens

    def _targets(self, batch: RowBatch) -> _Targets:
        """The target tokens of a batch by kind; under ``code_softmax: full`` digits are words like others."""
        is_target = batch.is_target[:, 1:]  # [B, S-1]; the hidden state at s predicts the token at s + 1
        token_ids = batch.token_ids[:, 1:][is_target]  # [T]
        tasks = batch.task.unsqueeze(1).expand_as(is_target)[is_target]  # [T]
        if self.code_softmax == "full":
            return _Targets(token_ids, torch.arange(len(token_ids), device=token_ids.device), [], tasks)
        depths, codes = self.personal.vocabulary.digit_codes(token_ids)  # [T]; -1 for those of no digit
        words, starts = (depths < 0).nonzero().squeeze(1), (depths == 0).nonzero().squeeze(1)
        nodes, digits = torch.zeros_like(starts), []
        for depth in range(self.trie.num_digits):  # an ID's digits follow each other
            chosen = codes[starts + depth]
            is_choice = self.trie.has_choice(depth, nodes)
            digits.append(((starts + depth)[is_choice], nodes[is_choice], chosen[is_choice]))
            nodes = self.trie.advance(depth, nodes, chosen)
        counted = torch.cat([words, *(place for place, _, _ in digits)])
        return _Targets(token_ids, words, digits, tasks[counted])

    @torch.no_grad()
    def answer_logits(self, prompts: RowBatch, token_ids: Tensor) -> Tensor:
        """Logits [B, n] of the tokens [n] as the first of each answer; prompts are padded on the left."""
        return self.backbone.answer_logits(prompts, token_ids)

    @torch.no_grad()
    def generate_answers(self, prompts: RowBatch, **options: Any) -> list[list[int]]:
        """Answers of B prompts, padded on the left, as token ids; see :meth:`PromptBackbone.generate`."""
        return self.backbone.generate(prompts, **options)

    def collate_prompts(self, rows: Sequence[Row]) -> RowBatch:
        """Prompts as a batch for the methods above, on the model's device."""
        return self.backbone.collate_prompts(rows)

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The trained weights; what stays as it was loaded is left out."""
        state = super().state_dict(*args, **kwargs)
        for name in self._untrained(kwargs.get("prefix", "")):
            state.pop(name, None)
        return state

    def load_state_dict(self, state_dict: dict[str, Any], strict: bool = True, **options: Any):
        """Take the trained weights.

        Raises:
            ValueError: If they were trained beside another language model.
        """
        base = state_dict.get("base_fingerprint")
        if base is not None and not torch.equal(base.to(self.base_fingerprint.device), self.base_fingerprint):
            raise ValueError(
                "the weights were trained beside another language model; use the run's own language_model (same files, "
                "same lm_training) or train again"
            )
        untrained = super().state_dict()
        own = {name: untrained[name] for name in self._untrained()}
        return super().load_state_dict({**own, **state_dict}, strict, **options)

    def _untrained(self, prefix: str = "") -> list[str]:
        named = self.named_parameters(remove_duplicate=False)
        return [prefix + name for name, parameter in named if not parameter.requires_grad]

    @property
    def ranking_weights(self) -> PartWeights | None:
        """A search has weights of its own, and no priors but beside the one that knows its words: the others tell what
        a user takes next, and nothing of what was asked for."""
        if self.ranking_task is None:
            return None
        return self.part_weights if self.ranking_task.name == "recommendation" else self.search_weights

    def _priors(
        self,
        first: Any,
        history: Tensor,
        lengths: Tensor,
        prompt: Prompt,
        targets: Tensor | None = None,
        **options: Any,
    ) -> dict[str, Prior]:
        priors = super()._priors(first, history, lengths, **options)
        if self.ranking_weights is not None and QUERY_WORDS in self.ranking_weights.parts:
            wanted = [0] * len(history) if targets is None else targets.tolist()
            queries = [self.ranking_task.query(target) for target in wanted]
            scores = self.query_match.scores(queries, self.item_counts.cpu().numpy())  # [B, N+1]
            priors[QUERY_WORDS] = DensePrior(self.trie, torch.from_numpy(scores).float().to(history.device))
        return priors

    def _history(self, interaction: Interaction) -> tuple[Any, ...]:
        """What `PromptBackbone.start` asks for: histories, their lengths, their prompt and, for a search, what is
        searched for."""
        if self.ranking_task is None:
            raise ValueError(
                f"tasks: {', '.join(self.task_names)}: this run has not learned to rank items; train with "
                "recommendation among the tasks"
            )
        history = *super()._history(interaction), self.ranking_task.prompt
        if not self.ranking_task.reads_target:
            return history
        if self.POS_ITEM_ID not in interaction:
            raise ValueError(
                "tasks: this run has learned to search, not to recommend, and a search needs a query: use "
                "recbole-mgr personalize, or train with recommendation among the tasks"
            )
        return *history, interaction[self.POS_ITEM_ID]
