"""A model whose parameters the processes share: PyTorch's FSDP2, for one that is larger than a GPU.

Each process keeps a part of every parameter, of its gradient and of the optimiser's state. What computes gathers one
layer at a time; the parameters outside the layers are gathered for the whole of a step. Checkpoints hold whole tensors,
so that any number of processes reads them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from recbole_mgr.distributed import processes

# DTensor, the kind of a shared tensor, once there is one: PyTorch imports it slowly, and has this name since 2.5
_shared_kind: type | tuple[()] = ()


class Call(nn.Module):
    """Lets PyTorch's wrappers of a model see whatever function of it is called."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable[..., Any], *args: Any) -> Any:
        """What ``function(*args)`` returns."""
        return function(*args)


class ShardedModel:
    """Deals a model's parameters out to the processes, which have to compute in step from then on.

    Args:
        model: has ``layers_to_share``, modules that are called one after another; its parameters become those of the
            owner, and its optimiser is made afterwards.
        device: where each process keeps its part.

    Attributes:
        call: the model as a module that is called with a function of it, for a training step.

    Raises:
        ValueError: If the installed PyTorch has no FSDP2.
    """

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        global _shared_kind
        try:
            from torch.distributed.device_mesh import DeviceMesh
            from torch.distributed.fsdp import fully_shard  # since 2.6, and our lower bound is older
            from torch.distributed.tensor import DTensor
        except ImportError as error:
            raise ValueError(
                f"fsdp: PyTorch {torch.__version__} does not have it; install 2.6 or later, or leave fsdp out"
            ) from error
        _shared_kind = DTensor
        for tensor in [*model.parameters(), *model.buffers()]:
            dist.broadcast(tensor.detach(), 0)
        group = processes.gradient_group(device.type) or dist.group.WORLD
        mesh = DeviceMesh.from_group(group, device.type)
        for layer in model.layers_to_share:
            fully_shard(layer, mesh=mesh)
        self.call = fully_shard(Call(model), mesh=mesh, reshard_after_forward=True)
        model.register_load_state_dict_pre_hook(_share_weights)
        self._users = 0
        self.call(bool)  # PyTorch takes the first one called for the outermost, which this is

    @contextmanager
    def at_hand(self) -> Iterator[None]:
        """Let all processes use the model inside without gradients, and in step: none can compute alone."""
        self._users += 1
        if self._users == 1:
            self.call.unshard()
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self.call.reshard()

    @staticmethod
    def follow(optimizer: torch.optim.Optimizer) -> None:
        """Let an optimiser of the shared parameters load whole tensors."""
        optimizer.register_load_state_dict_pre_hook(_share_state)


def whole(state: Any) -> Any:
    """Plain data in which shared tensors are gathered, on the CPU and for the owner; all processes call it together."""
    if isinstance(state, _shared_kind):
        gathered = state.full_tensor()
        return gathered.cpu() if processes.is_owner() else None
    if isinstance(state, dict):
        same = copy.copy(state)  # with what PyTorch notes beside a state's entries
        same.update((key, whole(value)) for key, value in state.items())
        return same
    return type(state)(map(whole, state)) if type(state) in (list, tuple) else state


def _part(value: Tensor, like: Tensor) -> Tensor:
    """The part of a whole tensor that this process keeps where it keeps that of ``like``, a shared one."""
    if isinstance(value, _shared_kind) or value.shape != like.shape:
        return value
    mesh, local = like.device_mesh, like.to_local()
    parts = value.chunk(mesh.size())  # along the first dimension, as FSDP does; the last processes may get nothing
    own = parts[mesh.get_local_rank()] if mesh.get_local_rank() < len(parts) else value[:0]
    return type(like.data).from_local(
        own.to(local.device), mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride()
    )


def _share_weights(module: nn.Module, state_dict: dict[str, Any], *_: Any) -> None:
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if name in state_dict and isinstance(parameter, _shared_kind):
            state_dict[name] = _part(state_dict[name], parameter)


def _share_state(optimizer: torch.optim.Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
    numbers = [number for group in state_dict["param_groups"] for number in group["params"]]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state = dict(state_dict["state"])
    for number, parameter in zip(numbers, parameters, strict=True):
        if number in state:
            state[number] = {key: _part(value, parameter) for key, value in state[number].items()}
    return {**state_dict, "state": state}
