"""A GPU that is none: tensors which say that they are on ``cuda:0``, compute on the CPU, and refuse what CUDA refuses.

It finds faults of placement without a GPU: tensors of two devices in one operation, ``.numpy()`` of what lies on the
GPU, indices on the wrong side, a CPU generator for draws on the GPU, new tensors that were put nowhere in particular.
It does not see kernels, ``torch.compile``, the numerics of lower precision, or pinned memory.

How: a wrapper subclass reports the device, a dispatch mode runs every operation on the CPU tensors inside, and the
start-up of CUDA is left out, which PyTorch looks for when Python code names the device.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("cuda", 0)
aten = torch.ops.aten

# Operations that may read tensors of both devices, as CUDA's do: copies, and indices of a tensor on the GPU.
_MIXING = {
    aten._to_copy.default,
    aten.copy_.default,
    aten.index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten._index_put_impl_.default,
}


class EmulatedTensor(torch.Tensor):
    """A tensor that says it is on the GPU; ``values`` holds it on the CPU."""

    values: torch.Tensor

    @staticmethod
    def __new__(cls, values: torch.Tensor) -> EmulatedTensor:
        wrapper = torch.Tensor._make_wrapper_subclass(
            cls,
            values.shape,
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            layout=values.layout,
            device="meta",  # what autograd sees: it asks nothing of that device, and a device guard of CUDA
            requires_grad=values.requires_grad,
        )
        wrapper.values = values.detach()
        return wrapper

    @property
    def device(self) -> torch.device:
        return DEVICE

    @property
    def is_cuda(self) -> bool:
        return True

    is_cpu = is_meta = False

    def __getitem__(self, index: Any) -> Any:
        return super().__getitem__(_without_lists(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(_without_lists(index), value)

    def __repr__(self) -> str:
        return f"EmulatedTensor({self.values!r})"

    @classmethod
    def __torch_dispatch__(cls, operation, types, arguments=(), keywords=None):
        return _run(operation, arguments, keywords or {})

    def __reduce_ex__(self, protocol: int) -> Any:
        return self.values.__reduce_ex__(protocol)  # a file knows no device until it is loaded

    def tolist(self) -> Any:
        return self.values.tolist()


def _without_lists(index: Any) -> Any:
    """Indices of an indexing operation, lists as tensors: C++ code would make them on the device of the tensor, and
    what it writes there does not reach the emulator."""
    if isinstance(index, tuple):
        return tuple(map(_without_lists, index))
    return torch.tensor(index) if isinstance(index, list) else index


class _Emulator(TorchDispatchMode):
    def __torch_dispatch__(self, operation, types, arguments=(), keywords=None):
        return _run(operation, arguments, keywords or {})


def _run(operation, arguments: tuple, keywords: dict[str, Any]) -> Any:
    tensors = [leaf for leaf in tree_flatten((arguments, keywords))[0] if isinstance(leaf, torch.Tensor)]
    ours = [tensor for tensor in tensors if isinstance(tensor, EmulatedTensor)]
    others = [tensor for tensor in tensors if not isinstance(tensor, EmulatedTensor) and tensor.dim() > 0]
    if ours and others and operation not in _MIXING:
        raise RuntimeError(
            f"Expected all tensors to be on the same device: {operation} got {tuple(ours[0].shape)} on {DEVICE} and "
            f"{tuple(others[0].shape)} on the CPU"
        )
    if operation in (aten.index.Tensor, aten.index_put.default, aten.index_put_.default) and not isinstance(
        arguments[0], EmulatedTensor
    ):
        indices = [index for index in arguments[1] if isinstance(index, EmulatedTensor) and index.dim() > 0]
        if indices:
            raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
    device = keywords.get("device")
    # C++ code that makes a tensor like another asks for the device that the wrapper has there
    on_gpu = bool(ours) if device is None else torch.device(device).type in ("cuda", "meta")
    generator = keywords.get("generator")
    if generator is not None and on_gpu and generator.device.type == "cpu":
        raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
    if device is not None:
        keywords = {**keywords, "device": torch.device("cpu")}
    inner_arguments, inner_keywords = tree_map(
        lambda leaf: leaf.values if isinstance(leaf, EmulatedTensor) else leaf, (arguments, keywords)
    )
    with torch._C._DisableTorchDispatch():
        result = operation(*inner_arguments, **inner_keywords)
    return _wrapped(operation, result, arguments, on_gpu)


def _wrapped(operation, result: Any, arguments: tuple, on_gpu: bool) -> Any:
    """The result on the GPU; an operation in place gives back the tensor that it was given."""
    name = operation._schema.name
    if name.endswith("_") and not name.endswith("__") and arguments and isinstance(arguments[0], torch.Tensor):
        return arguments[0]
    if not on_gpu:
        return result
    return tree_map(lambda leaf: EmulatedTensor(leaf) if type(leaf) is torch.Tensor else leaf, result)


@contextlib.contextmanager
def emulated_gpu() -> Iterator[None]:
    """In this context ``cuda:0`` exists."""
    lazy_init, load, tensor = torch.cuda._lazy_init, torch.load, torch.tensor
    torch.cuda._lazy_init = lambda: None
    # these two go to the device below what a dispatch mode sees
    torch.load = lambda *arguments, map_location=None, **options: _moved(
        load(*arguments, map_location="cpu", **options), map_location
    )
    torch.tensor = lambda *arguments, device=None, **options: _moved(tensor(*arguments, **options), device)
    try:
        with _Emulator():
            yield
    finally:
        torch.cuda._lazy_init, torch.load, torch.tensor = lazy_init, load, tensor


def _moved(content: Any, device: Any) -> Any:
    """Tensors of the CPU, on the device that they were asked for on."""
    if device is None or torch.device(device).type == "cpu":
        return content
    return tree_map(lambda leaf: EmulatedTensor(leaf) if type(leaf) is torch.Tensor else leaf, content)
