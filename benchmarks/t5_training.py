"""Training steps of the T5 backbone against a plain transformers loop; prints a Markdown table.

The baseline is ``T5ForConditionalGeneration(input_ids, attention_mask, labels)`` over the same prefixes in the same
shuffled order, padded to each batch's longest, with the same sizes, dropout, batch size and optimiser. A step is
forward, backward and AdamW. Rows per second of a random sample of batches stand for those of the epoch.

Run: ``python benchmarks/t5_training.py --data_path <folder of Beauty/>``; on a GPU add
``--device cuda --dtype bfloat16 --batches 40``.
"""

import argparse
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
from torch import Tensor, nn
from workload import arguments_with, machine

from recbole_mgr.model.backbone.t5 import T5Backbone


def make_run(
    module: nn.Module, loss_of: Callable[[Rows], Tensor], batches: list[Rows], args: argparse.Namespace
) -> Callable[[], None]:
    """A function that takes one optimiser step per batch."""
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4)
    module.train()

    def run() -> None:
        for batch in batches:
            optimizer.zero_grad()
            with precision(args):
                loss = loss_of(batch)
            loss.backward()
            optimizer.step()

    return run


def our_loss(backbone: T5Backbone, code_softmax: str) -> Callable[[Rows], Tensor]:
    def loss_of(batch: Rows) -> Tensor:
        backbone.code_softmax = code_softmax
        return backbone.loss(*batch)

    return loss_of


def compare(args: argparse.Namespace) -> None:
    world = load_backbone(args)
    backbone = world.backbone
    model = plain_transformers(backbone)
    sample = world.train.sample(args.batches * args.batch, args.seed)
    batches = sample.batches(args.batch, args.device)
    by_length = Rows(*(column[sample.lengths.argsort(stable=True)] for column in sample))
    if args.compile:
        backbone.loss = torch.compile(backbone.loss, dynamic=True)

    def their_loss(batch: Rows) -> Tensor:
        return model(**encoder_input(backbone, batch), labels=backbone.token_ids[batch.targets]).loss

    runs = {
        "transformers": make_run(model, their_loss, batches, args),
        "ours, full": make_run(backbone, our_loss(backbone, "full"), batches, args),
        "ours, legal": make_run(backbone, our_loss(backbone, "legal"), batches, args),
        "ours, legal, batches of like length": make_run(
            backbone, our_loss(backbone, "legal"), by_length.batches(args.batch, args.device), args
        ),
    }
    for name in ("transformers", "ours, full", "ours, legal"):
        runs[name]()  # allocations, autotuning, compilation
    rates = {name: [] for name in runs}
    for _ in range(args.repeats):
        for name, run in runs.items():
            rates[name].append(rate(run, len(sample.targets), args.device))
    rates = {name: median(measured) for name, measured in rates.items()}

    print(
        f"{machine(args)}, {args.dtype}; {args.batches} batches of {args.batch} of the {len(world.train.targets):,} "
        "prefixes of an epoch\n"
    )
    print("| | rows/s | rows per CPU s | ratio | ratio, CPU | epoch, minutes |")
    print("|---|---:|---:|---:|---:|---:|")
    base = rates["transformers"]
    for name, (wall, cpu) in rates.items():
        minutes = len(world.train.targets) / wall / 60
        print(f"| {name} | {wall:.1f} | {cpu:.1f} | {wall / base.wall:.2f} | {cpu / base.cpu:.2f} | {minutes:.1f} |")
    if args.profile:
        print_profile(runs["ours, legal"], args.device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser)
    parser.add_argument("--batches", type=int, default=3, help="batches of the sample")
    parser.add_argument("--batch", type=int, default=256, help="prefixes per batch")
    compare(arguments_with(parser))


if __name__ == "__main__":
    main()
