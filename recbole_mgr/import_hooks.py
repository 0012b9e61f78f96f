"""What happens when RecBole or torchvision is imported after recbole_mgr, so that recbole_mgr imports neither.

RecBole is mended and gets to know our models right after its first module has run
(:mod:`recbole_mgr.integration.install`). torchvision's operators are declared before it runs, where they do not load.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

RECBOLE_VERSION = "1.2.1"

_torchvision_operators = []  # a torch.library.Library withdraws its operators when it is collected


class ImportHook(MetaPathFinder, Loader):
    """Calls functions when one module is imported for the first time.

    Args:
        name: of a module that is not imported yet.
        before: called before its code runs.
        after: called after its code has run, while its import goes on; where it raises, the import fails and the next
            one tries again.
    """

    def __init__(
        self, name: str, *, before: Callable[[], None] | None = None, after: Callable[[], None] | None = None
    ) -> None:
        self.name, self.before, self.after = name, before, after
        self._loader: Loader | None = None
        self._searching = False

    def install(self) -> None:
        """Watch imports; a module that is imported already gets its ``after`` at once."""
        if self.name not in sys.modules:
            sys.meta_path.insert(0, self)
        elif self.after is not None:
            self.after()

    def find_spec(self, fullname: str, path=None, target=None) -> ModuleSpec | None:
        if fullname != self.name or self._searching:
            return None
        self._searching = True
        try:
            spec = find_spec(fullname)  # by the other finders
        finally:
            self._searching = False
        if spec is not None:
            self._loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        if self.before is not None:
            self.before()
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        if self.after is not None:
            self.after()
        sys.meta_path.remove(self)


def install(mend_recbole: Callable[[], None]) -> None:
    """Watch for RecBole and torchvision (idempotent).

    Args:
        mend_recbole: called when RecBole is imported.

    Raises:
        ImportError: If RecBole is not installed, with the command that installs it.
    """
    if any(isinstance(finder, ImportHook) for finder in sys.meta_path):
        return
    if find_spec("recbole") is None:
        raise recbole_needed("not installed")
    ImportHook("torchvision", before=torchvision_schemas).install()
    ImportHook("recbole", after=mend_recbole).install()


def recbole_needed(found: str) -> ImportError:
    """The error for a RecBole that is not the one that we extend: ``found`` is its version, or that there is none."""
    return ImportError(
        f"recbole_mgr extends RecBole {RECBOLE_VERSION}, and RecBole is {found}; "
        f"run: pip install --no-deps recbole=={RECBOLE_VERSION}"
    )


def torchvision_schemas() -> None:
    """A torchvision whose C++ operators do not load cannot be imported, nor can T5 (pytorch/vision#9085). Idempotent.

    It is what PyPI's CUDA build of torchvision does beside a CPU build of torch. Its Python part only needs
    two schemas to be declared; the operators themselves stay unavailable.
    """
    spec = find_spec("torchvision")
    if spec is None or "torchvision" in sys.modules or _torchvision_operators:
        return
    import torch

    if not any(_loads(library) for library in _compiled(spec)):
        declared = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            declared.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _torchvision_operators.append(declared)


def _compiled(torchvision: ModuleSpec) -> list[Path]:
    """Where its operators may stand: the file ``_C`` is called ``_C_stable`` since 0.29."""
    files = (file for folder in torchvision.submodule_search_locations or () for file in Path(folder).glob("_C*"))
    return [file for file in files if file.name.endswith(tuple(EXTENSION_SUFFIXES))]


def _loads(library: Path) -> bool:
    import torch

    try:
        torch.ops.load_library(str(library))
    except (ImportError, OSError):
        return False
    return True
