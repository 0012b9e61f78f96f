"""Seconds to rank a whole test set by beam search, hierarchical backbone; prints a Markdown table.

``python benchmarks/decoding.py --data_path <data> --dataset Beauty``; a bundled sample serves without --data_path.
"""

import argparse

import torch
from workload import arguments_with, load, machine, seconds, train_steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="TIGER", help="generating model")
    parser.add_argument("--beams", type=int, nargs="+", default=[20, 50], help="beam widths")
    parser.add_argument("--warm_up", type=int, default=100, help="training steps before, so that beams are not uniform")
    parser.add_argument("--profile", action="store_true", help="also show where the time of ten batches goes")
    arguments = arguments_with(parser)
    workload = load(arguments.model, arguments, semantic_ids=arguments.semantic_ids)
    model, test = workload.model, workload.test
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    batches = (batch.to(model.device) for _, batch in zip(range(arguments.warm_up), workload.train))  # noqa: B905
    train_steps(workload, batches, optimizer)
    model.eval()
    users = len(test._dataset)

    def rank(count: int, beam_size: int) -> None:
        for (interaction, *_), _ in zip(test, range(count)):  # noqa: B905
            model.generate(interaction.to(model.device), k=10, beam_size=beam_size)

    print(f"{arguments.model}, hierarchical, {users:,} users, {machine(arguments)}\n")
    print("| beam | whole test set, s | users/s |\n|---:|---:|---:|")
    for beam_size in arguments.beams:
        rank(2, beam_size)
        taken = seconds(lambda beam_size=beam_size: rank(len(test), beam_size), arguments.device)
        print(f"| {beam_size} | {taken:.1f} | {users / taken:,.0f} |", flush=True)
    if arguments.profile:
        with torch.profiler.profile() as profiler:
            rank(10, beam_size)
        print(profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=15, max_name_column_width=40))


if __name__ == "__main__":
    main()
