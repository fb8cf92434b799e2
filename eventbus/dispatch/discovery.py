"""
Find listeners in packages.

A public class with `handle*` methods whose first parameter is hinted with an event class, a function
or method marked with `@listens`, and a class whose `subscribe` takes the bus. Everything else is
passed over, and `Discovery.skipped` says why.
"""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import types
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from attrs import define, field, frozen

from eventbus.dispatch.hints import NO_HINT, UnusableHint, hint_of
from eventbus.dispatch.listeners import (
    Listener,
    Mark,
    Target,
    check,
    describe,
    handlers_of,
    marks,
    target_of,
)
from eventbus.dispatch.registry import listenable
from eventbus.errors import DiscoveryError, DiscoveryWarning

__all__ = ["Discovery", "Skipped", "scan"]


@frozen
class Skipped:
    """Something in a scanned module that is no listener, and why."""

    what: str
    reason: str


@define(kw_only=True)
class Discovery:
    """What a scan found."""

    listeners: list[Listener] = field(factory=list)
    #: Classes whose `subscribe` takes the bus.
    subscribers: list[type] = field(factory=list)
    #: What looked like a listener and is none.
    skipped: list[Skipped] = field(factory=list)
    #: The modules that were looked at, sorted.
    modules: list[str] = field(factory=list)
    #: A module of ours is still being imported, by this very thread: look again later.
    unfinished: bool = False

    def merged(self, later: Discovery) -> Discovery:
        """Return this and what a later scan found besides."""
        return Discovery(
            listeners=_both(self.listeners, later.listeners),
            subscribers=_both(self.subscribers, later.subscribers),
            skipped=_both(self.skipped, later.skipped),
            modules=sorted({*self.modules, *later.modules}),
        )


def _both(first: list[Any], second: list[Any]) -> list[Any]:
    return [*first, *(one for one in second if one not in first)]


def scan(packages: Iterable[tuple[str, int]], *, bus_type: type) -> Discovery:
    """
    Import packages with everything below them, and read their listeners.

    Args:
        packages: Names of packages or modules, each with its place in the order of registration.
        bus_type: What a subscriber's `subscribe` takes.

    Raises:
        DiscoveryError: A package does not exist, a module fails to import, or a hint of a listener
            exists for type checkers only.
    """
    found = Discovery()
    for package, place in packages:
        for module in sorted(_modules(package), key=lambda one: one.__name__):
            if getattr(module.__spec__, "_initializing", False):
                found.unfinished = True
                continue
            found.modules.append(module.__name__)
            _Reader(module, place, bus_type, found).read()
    return found


def _modules(package: str) -> Iterator[types.ModuleType]:
    root = _imported(package, package)
    yield root
    for name in _below(package, getattr(root, "__path__", ())):
        yield _imported(name, package)


def _below(package: str, paths: Iterable[str]) -> Iterator[str]:
    """Yield the names of the modules of a package, those of namespace packages in it too."""
    paths = list(paths)
    names = {one.name: one.ispkg for one in pkgutil.iter_modules(paths)}
    for path in paths:
        # pkgutil passes over folders without an __init__.py.
        if os.path.isdir(path):
            for entry in os.scandir(path):
                if entry.is_dir() and entry.name.isidentifier() and _holds_python(entry.path):
                    names.setdefault(entry.name, True)
    for name in sorted(names):
        if name in {"__main__", "__pycache__"}:
            continue
        full = f"{package}.{name}"
        yield full
        if names[name]:
            yield from _below(full, getattr(_imported(full, package), "__path__", ()))


def _holds_python(path: str) -> bool:
    return any(name.endswith(".py") for _, _, names in os.walk(path) for name in names)


def _imported(name: str, package: str) -> types.ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            raise DiscoveryError(
                module=name,
                reason="there is no such module or package",
                remedy="Check its spelling in `discover`, and that its folder is on sys.path",
            ) from error
        raise DiscoveryError(module=name, reason=_importing(name, package, error)) from error
    except (Exception, SystemExit) as error:
        raise DiscoveryError(module=name, reason=_importing(name, package, error)) from error


def _importing(name: str, package: str, error: BaseException) -> str:
    inside = f" (found in {package!r})" if name != package else ""
    return f"importing it{inside} raised {type(error).__name__}: {error}"


class _Reader:
    """Reads the listeners of one module into a `Discovery`."""

    def __init__(
        self, module: types.ModuleType, place: int, bus_type: type, found: Discovery
    ) -> None:
        self.module = module
        self.place = place
        self.bus_type = bus_type
        self.found = found

    def read(self) -> None:
        for name, thing in list(vars(self.module).items()):
            if inspect.isclass(thing):
                self._class(name, thing)
            elif marks(thing) and callable(thing):
                self._function(name, thing)

    def _class(self, name: str, cls: type) -> None:
        handlers = handlers_of(cls)
        if cls.__module__ != self.module.__name__:
            if handlers:
                self._skip(cls, f"imported from {cls.__module__}; found there if that is scanned")
            return
        if (
            cls.__qualname__ != name
            and "." not in cls.__qualname__
            and hasattr(self.module, cls.__qualname__)
        ):
            return  # a second name of the same class
        reason = _refusal(cls)
        marked = marks(cls) or any(marks(one) for one in vars(cls).values())
        if reason:
            if handlers or marked:
                self._skip(cls, reason)
            return
        if self._subscribes(cls):
            self.found.subscribers.append(cls)
            return
        for mark in marks(cls) or (Mark(),):
            self._handlers(cls, handlers, mark)

    def _handlers(self, cls: type, handlers: tuple[str, ...], mark: Mark) -> None:
        methods = dict.fromkeys(handlers)
        methods.update(
            (name, None) for name, value in vars(cls).items() if marks(_function_of(value))
        )
        if mark.events:
            for event in mark.events:
                self._register(target_of(cls, event), event, mark)
            return
        for method in methods:
            target = target_of((cls, method))
            static = _function_of(inspect.getattr_static(cls, method))
            for own in marks(static) or (mark,):
                for event in own.events or self._hinted(target):
                    self._register(target, event, own)

    def _function(self, name: str, function: Any) -> None:
        if getattr(function, "__module__", None) != self.module.__name__:
            return
        if name.startswith("_"):
            self._skip(function, "its name is private")
            return
        target = target_of(function)
        for mark in marks(function):
            for event in mark.events or self._hinted(target, must=True):
                self._register(target, event, mark)

    def _hinted(self, target: Target, *, must: bool = False) -> tuple[type, ...]:
        try:
            return target.hears()
        except UnusableHint as problem:
            if problem.unresolved:
                raise DiscoveryError(
                    module=self.module.__name__,
                    reason=f"{target.name} cannot be read: {problem.reason}",
                    remedy="Import it at run time: a hint under TYPE_CHECKING registers nothing",
                ) from problem
            if must or problem.reason.endswith(_UNHINTED):
                example = target.method or target.name.rpartition(":")[2]
                where = "self, " if target.owner else ""
                warnings.warn(
                    f"{target.name} listens to nothing: {problem.reason}."
                    f" Write `def {example}({where}event: OrderShipped)`",
                    DiscoveryWarning,
                    stacklevel=2,
                )
            self.found.skipped.append(Skipped(target.name, problem.reason))
            return ()

    def _register(self, target: Target, event: type | str, mark: Mark) -> None:
        check(target, listenable(event))
        self.found.listeners.append(
            Listener(
                event=event,
                target=target,
                priority=mark.priority,
                once=mark.once,
                options=mark.options,
                origin="discovery",
                order=(self.place, self.module.__name__, line_of(target)),
            )
        )

    def _subscribes(self, cls: type) -> bool:
        function = inspect.getattr_static(cls, "subscribe", None)
        if not inspect.isfunction(function):
            return False
        names = list(inspect.signature(function).parameters)[1:2]
        try:
            hint = hint_of(function, names[0], owner=cls) if names else NO_HINT
        except UnusableHint:
            return False
        if inspect.isclass(hint) and issubclass(self.bus_type, hint) and hint is not object:
            return True
        self._skip(cls, "its `subscribe` does not take an EventBus, by its hint")
        return False

    def _skip(self, thing: Any, reason: str) -> None:
        self.found.skipped.append(Skipped(describe(thing), reason))


_UNHINTED = "has no hint"


def _function_of(value: Any) -> Any:
    return value.__func__ if isinstance(value, staticmethod | classmethod) else value


def _refusal(cls: type) -> str:
    """Return why a class that has handlers is not a listener; empty if it is one."""
    wish = getattr(cls, "__discover__", True)
    if isinstance(wish, str):
        return wish
    if wish is False:
        return "it says `__discover__ = False`"
    if cls.__name__.startswith("_"):
        return "its name is private"
    if getattr(cls, "_is_protocol", False):
        return "it is a protocol"
    if inspect.isabstract(cls):
        missing = ", ".join(sorted(getattr(cls, "__abstractmethods__", ())))
        return f"it is abstract ({missing})"
    return ""


def line_of(target: Target) -> int:
    """Return the line of a target; that of its class if the method is inherited from elsewhere."""
    owner = target.owner
    if owner is None or target.method in vars(owner):
        return target.location[1]
    first = vars(owner).get("__firstlineno__")
    if first is not None:
        return int(first)
    try:
        return inspect.getsourcelines(owner)[1]
    except (OSError, TypeError):
        return 0
