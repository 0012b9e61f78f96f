"""How RecBole is patched: small named functions, applied once, and modules seen with a few names replaced."""

import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


class PatchSet:
    """Patches that are applied in order, each of them once per process.

    Args:
        patches: functions without arguments; a patch is known by its function's name.
    """

    def __init__(self, *patches: Callable[[], None]) -> None:
        self.patches = {patch.__name__: patch for patch in patches}
        self._applied: set[str] = set()

    def apply(self, skip: Collection[str] = ()) -> None:
        """Apply every patch that was not applied before; a second call does nothing.

        Args:
            skip: names of patches to leave out, which shows what breaks without them.

        Raises:
            ValueError: If ``skip`` names no patch of this set.
        """
        unknown = set(skip) - set(self.patches)
        if unknown:
            raise ValueError(f"skip: no patch is called {sorted(unknown)}; there are {sorted(self.patches)}")
        for name, patch in self.patches.items():
            if name not in skip and name not in self._applied:
                patch()
                self._applied.add(name)


class ModuleView(ModuleType):
    """A module as one other module sees it: the given names replaced, all others passed through.

    Args:
        module: the module that stays untouched.
        replaced: name and substitute of each attribute that differs.
    """

    def __init__(self, module: ModuleType, **replaced: Any) -> None:
        super().__init__(module.__name__, module.__doc__)
        self.__dict__.update(replaced, _viewed=module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._viewed, name)


@contextmanager
def stand_in_modules(**attributes: dict[str, Any]) -> Iterator[None]:
    """Let top-level modules that cannot be imported look importable while the block runs.

    Args:
        attributes: for each module name the attributes that its stand-in has. An attribute that is a module
            is importable as a submodule.
    """
    stand_ins = {}
    for name, values in attributes.items():
        stand_ins[name] = ModuleType(name)
        stand_ins[name].__dict__.update(values)
        submodules = {key: value for key, value in values.items() if isinstance(value, ModuleType)}
        stand_ins.update({f"{name}.{key}": submodule for key, submodule in submodules.items()})
    hidden = {name: sys.modules[name] for name in stand_ins if name in sys.modules}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name in stand_ins:
            del sys.modules[name]
        sys.modules.update(hidden)
