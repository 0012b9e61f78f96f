"""Beam search of the T5 backbone against transformers' ``generate`` on the same weights; prints a Markdown table.

The baseline is what a user of transformers would write: ``generate`` with ``prefix_allowed_tokens_fn`` (a
dictionary from each prefix to its legal next tokens), ``renormalize_logits=True`` (our ``code_softmax: legal``),
its key/value cache, evaluation mode and the batch size that suits it best. The weights are T5's initial ones: the
time does not depend on them.

Run: ``python benchmarks/t5_decoding.py --data_path <folder of Beauty/>``; on a GPU add
``--device cuda --dtype bfloat16 --users 8192 --baseline_users 512 --baseline_batches 32 64 128 --beam 20 50``.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable

import torch
from t5_setup import (
    Rows,
    add_options,
    encoder_input,
    load_backbone,
    median,
    plain_transformers,
    precision,
    print_profile,
    rate,
)
from torch import nn
from transformers.utils import logging
from workload import arguments_with, machine

from recbole_mgr.generation.beam_search import RankedList, beam_search
from recbole_mgr.model.backbone.t5 import T5Backbone

TIE = 1e-4  # scores that close may change places between two ways to add the same numbers


def our_search(backbone: T5Backbone, rows: Rows, beam: int) -> RankedList:
    first = backbone.start(rows.history, rows.lengths)

    def step(depth, nodes, codes, parents, state):
        return backbone.step(depth, nodes, codes, parents, first if state is None else state)

    return beam_search(
        step,
        backbone.trie,
        batch_size=len(rows.targets),
        k=beam,
        beam_width=beam,
        code_softmax=backbone.code_softmax,
    )


def make_baseline(backbone: T5Backbone, model: nn.Module) -> Callable[[T5Backbone, Rows, int], RankedList]:
    """The same search by transformers."""
    num_digits = backbone.num_digits
    rows_of_tokens = backbone.token_ids[1:].tolist()
    legal = defaultdict(set)
    for row in rows_of_tokens:
        for digit, token_id in enumerate(row):
            legal[tuple(row[:digit])].add(token_id)
    legal = {prefix: sorted(token_ids) for prefix, token_ids in legal.items()}
    items = {tuple(row): item for item, row in enumerate(rows_of_tokens, start=1)}

    def search(backbone: T5Backbone, rows: Rows, beam: int) -> RankedList:
        found = model.generate(
            **encoder_input(backbone, rows),
            num_beams=beam,
            num_return_sequences=beam,
            max_new_tokens=num_digits,  # no end token: every sequence has D tokens
            length_penalty=0.0,  # the score is the sum of log-probabilities
            do_sample=False,
            use_cache=True,
            renormalize_logits=True,
            prefix_allowed_tokens_fn=lambda _, token_ids: legal[tuple(token_ids[1:].tolist())],
            return_dict_in_generate=True,
            output_scores=True,
        )
        item_ids = torch.tensor([items[tuple(row)] for row in found.sequences[:, 1:].tolist()])
        return RankedList(item_ids.view(-1, beam), found.sequences_scores.view(-1, beam).float().cpu())

    return search


def differences(ours: RankedList, theirs: RankedList, tie: float) -> tuple[int, int]:
    """Number of places where the lists differ, and how many of them are no tie: the scores there differ too."""
    places = ours.item_ids.cpu() != theirs.item_ids
    real = places & ((ours.scores.cpu() - theirs.scores).abs() > tie)
    return int(places.sum()), int(real.sum())


def bandwidth_limit(backbone: T5Backbone, batch: Rows, beam: int, bytes_per_second: float) -> float:
    """Seconds that reading alone takes: D * (decoder weights + trie + cache) + encoder weights, each read once.

    The cache is what cross-attention reads of the users' histories, and what the beams have seen of themselves.
    """
    state = backbone.start(batch.history, batch.lengths)
    memory = sum(tensor.nbytes for layers in (state.memory.keys, state.memory.values) for g in layers for tensor in g)
    sizes, element = backbone.t5.sizes, state.memory.keys[0][0].element_size()
    per_token = 2 * sizes.num_layers * sizes.num_heads * sizes.head_size * element
    own_past = len(batch.targets) * beam * per_token * (backbone.num_digits - 1) / 2  # on average over the steps
    trie = sum(buffer.nbytes for buffer in backbone.trie.buffers())
    decoder = sum(p.numel() for p in backbone.t5.decoder.parameters()) * element
    encoder = sum(p.numel() for p in backbone.t5.encoder.parameters()) * element
    return (encoder + backbone.num_digits * (decoder + trie + memory + own_past)) / bytes_per_second


def measured_bandwidth(device: str) -> float:
    """Bytes per second of a large copy, reading and writing."""
    source = torch.zeros(2**27 if torch.device(device).type == "cuda" else 2**25, device=device)  # float32
    target = torch.empty_like(source)
    copies = [rate(lambda: target.copy_(source), 2 * source.nbytes, device).wall for _ in range(5)]
    return max(copies)


@torch.no_grad()
def compare(args: argparse.Namespace) -> None:
    world = load_backbone(args)
    backbone = world.backbone.eval()
    model = plain_transformers(backbone).eval()
    baseline = make_baseline(backbone, model)
    if args.compile:
        backbone.step = torch.compile(backbone.step, dynamic=True)
    users = world.test.sample(args.users, args.seed)
    few = Rows(*(column[: args.baseline_users] for column in users))
    bytes_per_second = measured_bandwidth(args.device)
    print(f"{machine(args)}, {args.dtype}; {backbone.trie.num_items:,} items, {backbone.num_digits} digits\n")
    print("| beam | | batch | users/s | users per CPU s | ratio | ratio, CPU | share of the bandwidth limit |")
    print("|---:|---|---:|---:|---:|---:|---:|---:|")
    for beam in args.beam:

        def run(search, rows: Rows, size: int, beam: int = beam) -> RankedList:
            with precision(args):
                parts = [search(backbone, batch, beam) for batch in rows.batches(size, args.device)]
            return RankedList(*(torch.cat(column) for column in zip(*parts, strict=True)))

        lists = run(our_search, few, args.batch), run(baseline, few, args.baseline_batches[0])  # both are warm now
        run(our_search, users, args.batch)
        trials = {
            size: rate(lambda size=size: run(baseline, few, size), len(few.targets), args.device).cpu
            for size in args.baseline_batches
        }
        best = max(trials, key=trials.get)
        theirs, ours = [], []
        for _ in range(args.repeats):
            theirs.append(rate(lambda: run(baseline, few, best), len(few.targets), args.device))  # noqa: B023
            ours.append(rate(lambda: run(our_search, users, args.batch), len(users.targets), args.device))
        theirs, ours = median(theirs), median(ours)

        batch = users.batches(args.batch, args.device)[0]
        with precision(args):
            limit = bandwidth_limit(backbone, batch, beam, bytes_per_second) / len(batch.targets)
        print(f"| {beam} | transformers | {best} | {theirs.wall:.1f} | {theirs.cpu:.1f} | | | |")
        print(
            f"| {beam} | ours | {args.batch} | {ours.wall:.1f} | {ours.cpu:.1f} | {ours.wall / theirs.wall:.1f} | "
            f"{ours.cpu / theirs.cpu:.1f} | {limit * ours.wall:.1%} |"
        )
        places, real = differences(*lists, TIE if args.dtype == "float32" else 0.1)
        print(
            f"\nlists of {len(few.targets)} users: {places} of {lists[0].item_ids.numel()} places differ, {real} of "
            f"them with different scores; largest difference of a score "
            f"{float((lists[0].scores.cpu() - lists[1].scores).abs().max()):.1e}\n"
        )
        if args.profile:
            print_profile(lambda: run(our_search, Rows(*(c[: args.batch] for c in users)), args.batch), args.device)  # noqa: B023


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser)
    parser.add_argument("--users", type=int, default=512, help="users that we serve; the rate is per user")
    parser.add_argument("--baseline_users", type=int, default=64, help="the first of them, for transformers")
    parser.add_argument("--beam", type=int, nargs="+", default=[20], help="beam widths and lengths of the lists")
    parser.add_argument("--batch", type=int, default=256, help="users per batch of ours")
    parser.add_argument("--baseline_batches", type=int, nargs="+", default=[4, 8, 16], help="the best one counts")
    args = arguments_with(parser)
    logging.set_verbosity_error()
    compare(args)


if __name__ == "__main__":
    main()
