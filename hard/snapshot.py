"""An object's whole state in JSON's own types, and the like of it made again.

Pure; the pipeline's `checkpoint` and `restore` call it.  It knows what the pipeline's parts are
made of: numbers, text, containers, arrays, and objects of `hard`'s own classes, shared ones and
cycles included.  What an object is only connected to (a model, a callback) is `wiring`, kept by
name.  Nothing that is read here can name a class outside `hard`, nor run anything.
"""

from __future__ import annotations

import base64
import math
import sys
from collections import Counter, defaultdict, deque
from types import MethodType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["restored", "saved"]

_FACTORIES: dict[str, type] = {"list": list, "int": int, "dict": dict, "set": set}


def saved(root: object, wiring: Mapping[str, object]) -> Any:
    """Return the state of `root` as JSON values; TypeError for what can't be saved."""
    return _Saver(wiring).saved(root)


def restored(state: Any, wiring: Mapping[str, object]) -> Any:
    """Return an object of a state; ValueError where nothing here can have saved it."""
    try:
        return _Restorer(wiring).restored(state)
    except (KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise ValueError(f"not a state that was saved: {error!r}") from error


class _Saver:
    def __init__(self, wiring: Mapping[str, object]) -> None:
        self._wired = {id(value): name for name, value in wiring.items()}
        self._seen: dict[int, tuple[int, object]] = {}  # kept alive, so that no id comes twice

    def saved(self, value: object) -> Any:
        if value is None or type(value) in {bool, int, str}:
            return value
        if id(value) in self._wired:
            return {"wired": self._wired[id(value)]}
        if type(value) is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if isinstance(value, tuple):
            return {"tuple": self._all(value), "of": _path(type(value))}
        if id(value) in self._seen:
            return {"same": self._seen[id(value)][0]}
        self._seen[id(value)] = len(self._seen), value
        return {"no": self._seen[id(value)][0], **self._whole(value)}

    def _all(self, values: Iterable[object]) -> list[Any]:
        return [self.saved(value) for value in values]

    def _whole(self, value: Any) -> dict[str, Any]:
        """Return what makes up something that may be shared."""
        if isinstance(value, np.ndarray | np.generic):
            return {
                "array": base64.b64encode(value.tobytes()).decode(),
                "dtype": value.dtype.str,
                "shape": list(value.shape),
                "scalar": isinstance(value, np.generic),
            }
        if isinstance(value, MethodType):
            return {"method": value.__name__, "self": self.saved(value.__self__)}
        if isinstance(value, dict):
            factory = value.default_factory if isinstance(value, defaultdict) else None
            return {
                "dict": [self._all(item) for item in value.items()],
                "of": type(value).__name__,
                "factory": None if factory is None else factory.__name__,
            }
        if type(value) in {list, set, frozenset}:
            return {"items": self._all(value), "of": type(value).__name__}
        if isinstance(value, deque):
            return {"deque": self._all(value), "most": value.maxlen}
        if not _path(type(value)).startswith("hard."):
            raise TypeError(f"can't be saved: {value!r:.200}")
        return {"object": _path(type(value)), "has": self._attributes(value)}

    def _attributes(self, value: object) -> dict[str, Any]:
        slots = [name for cls in type(value).__mro__ for name in getattr(cls, "__slots__", ())]
        names = [*getattr(value, "__dict__", ()), *(n for n in slots if hasattr(value, n))]
        return {name: self.saved(getattr(value, name)) for name in names}


class _Restorer:
    def __init__(self, wiring: Mapping[str, object]) -> None:
        self._wiring = wiring
        self._made: dict[int, Any] = {}

    def restored(self, state: Any) -> Any:
        if not isinstance(state, dict):
            return state
        if "wired" in state:
            return self._wiring[state["wired"]]
        if "float" in state:
            return float(state["float"])
        if "tuple" in state:
            parts = self._all(state["tuple"])
            return tuple(parts) if state["of"] == "builtins.tuple" else _named(state["of"])(*parts)
        if "same" in state:
            return self._made[state["same"]]
        return self._whole(state)

    def _all(self, states: Iterable[Any]) -> list[Any]:
        return [self.restored(state) for state in states]

    def _whole(self, state: dict[str, Any]) -> Any:
        """Make what may be shared; what can hold itself is known before it is filled."""
        no = state["no"]
        if "object" in state:
            cls = _named(state["object"])
            made = self._made[no] = object.__new__(cls)
            for name, value in state["has"].items():
                object.__setattr__(made, name, self.restored(value))
        elif "array" in state:
            flat = np.frombuffer(base64.b64decode(state["array"]), np.dtype(state["dtype"]))
            whole = flat.reshape(state["shape"]).copy()
            self._made[no] = whole[()] if state["scalar"] else whole
        elif "method" in state:
            self._made[no] = getattr(self.restored(state["self"]), state["method"])
        elif "dict" in state:
            empty = {"dict": dict, "Counter": Counter, "defaultdict": defaultdict}[state["of"]]()
            if state["factory"] is not None:
                empty = defaultdict(_FACTORIES[state["factory"]])
            self._made[no] = empty
            for key, value in state["dict"]:
                empty[self.restored(key)] = self.restored(value)
        elif "deque" in state:
            self._made[no] = deque(maxlen=state["most"])
            self._made[no].extend(self._all(state["deque"]))
        elif state["of"] == "list":
            self._made[no] = []
            self._made[no].extend(self._all(state["items"]))
        else:
            make = {"set": set, "frozenset": frozenset}[state["of"]]
            self._made[no] = make(self._all(state["items"]))
        return self._made[no]


def _path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _named(path: str) -> type[Any]:
    """Return a class of `hard` that is loaded; ValueError for anything else."""
    module, _, name = path.rpartition(".")
    found = getattr(sys.modules.get(module), name, None) if module.startswith("hard.") else None
    if not isinstance(found, type):
        raise ValueError(f"no class of hard: {path!r}")  # noqa: TRY004 - a bad value was read
    return found
