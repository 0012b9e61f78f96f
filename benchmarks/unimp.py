"""Where the time of UniMP goes: a training step part by part, and the answers to the cases of each task.

``python benchmarks/unimp.py`` on the bundled sample; CPU seconds, so that other work on the machine disturbs little.
With ``--device cuda`` wall seconds, for which each part waits for the GPU.
A pretrained language model: ``--settings "{'language_model': '<folder>', 'lm_training': 'lora'}"``, with
``'enable_amp': True`` in bfloat16.
"""

import argparse
import ast
import itertools
import resource
import tempfile
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode
from workload import arguments_with, load, machine, now

from recbole_mgr.unimp.rows import RowBatch
from recbole_mgr.unimp.trainer import UniMPTrainer

_SIDE = 1024  # of the matrices that tell the peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=ast.literal_eval, default={}, help="settings of UniMP, as a dictionary")
    parser.add_argument("--steps", type=int, default=20, help="measured training steps; 3 more warm up")
    parser.add_argument("--cases", type=int, default=100, help="cases of each task that are answered")
    arguments = arguments_with(parser)
    device = arguments.device
    started = now(device)
    workload = load("UniMP", arguments, task_cases=arguments.cases, **arguments.settings)
    trainer = UniMPTrainer(workload.config, workload.model)
    print(f"{machine(arguments)}\n\n{now(device) - started:.1f} {_unit(device)} to the first step\n")
    _report_step(trainer, arguments.steps, device)
    _report_answers(trainer, workload.test, arguments.cases, device)
    print(f"\nhighest memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.0f} MB")


def _unit(device: str) -> str:
    """Of what `now` gives."""
    return "CPU s" if device == "cpu" else "s"


def _report_step(trainer: UniMPTrainer, steps: int, device: str) -> None:
    model, parts = trainer.model.train(), dict.fromkeys(("laying out", "forward", "backward", "optimiser"), 0.0)
    trainer._schedule(steps)
    batches = iter(trainer.mixture.epoch(0))
    tokens, flops, began = 0, 0, now(device)
    for number, interaction in enumerate(itertools.islice(batches, steps + 3)):
        batch = RowBatch.from_interaction(interaction).to(model.device)
        times = [began, now(device)]
        trainer.optimizer.zero_grad()
        with torch.autocast(model.device.type, enabled=trainer.enable_amp):
            loss = model.loss(batch)
        times.append(now(device))
        loss.backward()
        times.append(now(device))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        trainer.optimizer.step()
        times.append(now(device))
        if number >= 3:
            tokens += int(batch.attention_mask.sum())
            for part, (begin, end) in zip(parts, itertools.pairwise(times), strict=True):
                parts[part] += (end - begin) / steps
            flops += _flops(model, batch) / steps
        began = now(device)
    step, peak = sum(parts.values()), _peak(device)
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    print(f"{trained:,} trained parameters; {tokens / steps:.0f} tokens a step\n")
    print(f"| part of a step | {_unit(device)} | share |\n|---|---:|---:|")
    for part, seconds in [*parts.items(), ("all", step)]:
        print(f"| {part} | {seconds:.4f} | {seconds / step:.0%} |")
    print(f"\n{flops / 1e9:.2f} GFLOP a step, {flops / step / 1e9:.1f} GFLOP/s, {flops / step / peak:.0%} of the peak")
    print(f"of {peak / 1e9:.0f} GFLOP/s in float32 that matrices of {_SIDE} reach here\n")


def _flops(model: torch.nn.Module, batch: RowBatch) -> int:
    """Of the matrix products and attentions of a forward and a backward pass."""
    with FlopCounterMode(display=False) as counter:
        model.loss(batch).backward()
    return counter.get_total_flops()


def _peak(device: str) -> float:
    """Floating-point operations a second of a product of large matrices in float32."""
    matrix = torch.randn(_SIDE, _SIDE, device=device)
    times = []
    for _ in range(20):
        started = now(device)
        matrix @ matrix
        times.append(now(device) - started)
    return 2 * _SIDE**3 / sorted(times)[len(times) // 2]


def _report_answers(trainer: UniMPTrainer, test: torch.utils.data.DataLoader, wanted: int, device: str) -> None:
    model = trainer.model.eval()
    print(f"| task | cases | {_unit(device)} | of 1,000 cases |\n|---|---:|---:|---:|")
    for task, cases in zip(trainer.tasks, trainer._test_cases, strict=True):
        started = now(device)
        if task.tested_as == "answers":
            number = len(cases)
            task.evaluate(model, cases, Path(tempfile.mkdtemp(prefix="benchmark-")))
        else:
            users, number = next(iter(test))[0], wanted
            asked = users[torch.arange(min(wanted, len(users)))].to(model.device)
            model.ranking_by(task).generate(asked, 20)
        seconds = now(device) - started
        print(f"| {task.name} | {number} | {seconds:.1f} | {1000 * seconds / number:.0f} |")


if __name__ == "__main__":
    main()
