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
import types
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from attrs import define, field, frozen

from eventbus.dispatch.hints import NO_HINT, UnusableHint, hint_of
from eventbus.dispatch.listeners import Listener, check
from eventbus.dispatch.marking import Mark, marks
from eventbus.dispatch.registry import listenable
from eventbus.dispatch.targets import Target, describe, handlers_of, target_of
from eventbus.errors import DiscoveryError, DiscoveryWarning, ListenError

__all__ = ["Discovery", "Skipped", "scan", "under_way"]


@frozen
class Skipped:
    """Something in a scanned module that is no listener, and why."""

    what: str
    reason: str


@define(kw_only=True)
class Discovery:
    """What a scan found."""

    listeners: list[Listener] = field(factory=list)
    #: Classes whose `subscribe` takes the bus, each with its place in the order of registration.
    subscribers: dict[type, tuple[int | str, ...]] = field(factory=dict)
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
            subscribers={**later.subscribers, **self.subscribers},
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
            if under_way(module):
                found.unfinished = True
            elif module.__name__ not in found.modules:
                found.modules.append(module.__name__)
                _Reader(module, place, bus_type, found).read()
    return found


def under_way(module: types.ModuleType | None) -> bool:
    """Tell whether a module is still being imported, by this very thread."""
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


def _modules(package: str) -> Iterator[types.ModuleType]:
    root = _imported(package, package)
    yield root
    for name in _below(package, getattr(root, "__path__", ())):
        yield _imported(name, package)


def _below(
    package: str, paths: Iterable[str], above: frozenset[str] = frozenset()
) -> Iterator[str]:
    """Yield the names of the modules of a package, those of namespace packages in it too."""
    import pkgutil  # for those who scan, and not for everybody who makes a bus

    paths = list(paths)
    here = frozenset(os.path.realpath(path) for path in paths)
    if here & above:
        return  # a link back to a folder that it lies in has no end
    names = {one.name: one.ispkg for one in pkgutil.iter_modules(paths)}
    for path in paths:
        # pkgutil passes over folders without an __init__.py.
        _, folders, _ = next(os.walk(path), ("", [], []))
        for name in folders:
            if name not in names and _holds_python(os.path.join(path, name)):
                names[name] = True
    for name in sorted(names):
        # What no import statement can name is a script, and is not to be run by looking at it.
        if not name.isidentifier() or name in {"__main__", "__pycache__"}:
            continue
        full = f"{package}.{name}"
        yield full
        if names[name]:
            yield from _below(full, getattr(_imported(full, package), "__path__", ()), above | here)


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
        seen: set[int] = set()
        # What has a public name is public, whatever private name it has besides.
        for name, thing in sorted(
            vars(self.module).items(), key=lambda one: one[0].startswith("_")
        ):
            if id(thing) in seen:
                continue
            seen.add(id(thing))
            # Not isinstance: what stands for another object, a lazy one say, would have to make it.
            if issubclass(type(thing), type):
                self._class(thing)
            elif marks(thing) and callable(thing):
                self._function(name, thing)

    def _class(self, cls: type) -> None:
        methods = _methods(cls)
        imported = cls.__module__ != self.module.__name__
        function = _static(cls, "subscribe")
        subscribes = not imported and inspect.isfunction(function)
        if not (methods or marks(cls) or subscribes):
            return
        reason = _elsewhere(cls) if imported else _refusal(cls)
        if reason:
            self._skip(cls, reason)
        elif subscribes and self._takes_bus(cls, function):
            self.found.subscribers[cls] = self._order(line_of(target_of((cls, "subscribe"))))
        else:
            for mark in marks(cls) or (Mark(),):
                self._methods(cls, methods, mark)

    def _methods(self, cls: type, methods: tuple[str, ...], mark: Mark) -> None:
        for event in mark.events:
            self._register(target_of(cls, event), event, mark)
        if mark.events:
            return
        for method in methods or (("__call__",) if marks(cls) else ()):
            target = target_of((cls, method))
            static = _function_of(_static(cls, method))
            for own in marks(static) or (mark,):
                for event in own.events or self._hinted(target, must=own is not mark):
                    self._register(target, event, own)

    def _function(self, name: str, function: Any) -> None:
        # An object without a module of its own answers with that of its class.
        is_own = inspect.isroutine(function) or "__module__" in function.__dict__
        if is_own and function.__module__ != self.module.__name__:
            self._skip(function, _elsewhere(function))
            return
        if name.startswith("_"):
            self._skip(function, "its name is private")
            return
        target = target_of(function)
        for mark in marks(function):
            for event in mark.events or self._hinted(target, must=True):
                self._register(target, event, mark)

    def _hinted(self, target: Target, *, must: bool = False) -> tuple[type, ...]:
        """Return what a target's hint says; nothing, and perhaps a warning, if it says nothing."""
        try:
            return target.hears()
        except UnusableHint as problem:
            if problem.missing:
                raise self._unreadable(target.name, problem) from problem
            # Where a method is inherited from, it is somebody else's: or it is warned about there.
            here = target.owner is None or target.method in vars(target.owner)
            if must or (problem.unhinted and here):
                self._warn(target, problem.reason)
            self.found.skipped.append(Skipped(target.name, problem.reason))
            return ()

    def _unreadable(self, name: str, problem: UnusableHint) -> DiscoveryError:
        return DiscoveryError(
            module=self.module.__name__,
            reason=f"{name} cannot be read: {problem.reason}",
            remedy="Import it at run time: a hint under TYPE_CHECKING registers nothing",
        )

    def _warn(self, target: Target, reason: str) -> None:
        example = target.method or target.name.rpartition(":")[2].rpartition(".")[2]
        first = "self, " if target.owner else ""
        file, line = target.location
        warnings.warn_explicit(
            f"{target.name} listens to nothing: {reason}."
            f" Write `def {example}({first}event: OrderShipped)`",
            DiscoveryWarning,
            filename=file,
            lineno=line,
            module=self.module.__name__,
            registry=vars(self.module).setdefault("__warningregistry__", {}),
        )

    def _register(self, target: Target, event: type | str, mark: Mark) -> None:
        try:
            event = listenable(event)
        except ListenError as error:
            raise ListenError(
                listener=target.name, reason=error.reason, remedy=error.remedy
            ) from error
        check(target, event)
        self.found.listeners.append(
            Listener(
                event=event,
                target=target,
                priority=mark.priority,
                once=mark.once,
                options=mark.options,
                origin="discovery",
                order=self._order(line_of(target)),
            )
        )

    def _order(self, line: int) -> tuple[int | str, ...]:
        return (self.place, self.module.__name__, line)

    def _takes_bus(self, cls: type, function: Any) -> bool:
        names = list(inspect.signature(function).parameters)[1:2]
        buses = self.bus_type.__mro__[:-1]
        try:
            hint = hint_of(function, names[0], owner=cls) if names else NO_HINT
        except UnusableHint as problem:
            if any(one.__name__ in problem.reason for one in buses):
                raise self._unreadable(describe((cls, "subscribe")), problem) from problem
            hint = NO_HINT
        if hint in buses:
            return True
        self._skip(cls, "its `subscribe` does not take an EventBus, by its hint")
        return False

    def _skip(self, thing: Any, reason: str) -> None:
        self.found.skipped.append(Skipped(describe(thing), reason))


def _function_of(value: Any) -> Any:
    return value.__func__ if isinstance(value, staticmethod | classmethod) else value


def _methods(cls: type) -> tuple[str, ...]:
    """Return the names of the `handle*` methods of a class, and of those marked with `@listens`."""
    names = dict.fromkeys(handlers_of(cls))
    for parent in cls.__mro__:
        for name, value in vars(parent).items():
            if marks(_function_of(value)) and marks(_function_of(_static(cls, name))):
                names.setdefault(name)
    return tuple(names)


def _static(cls: type, name: str) -> Any:
    return inspect.getattr_static(cls, name, None)


def _elsewhere(thing: Any) -> str:
    return f"imported from {thing.__module__}; found there if that is scanned"


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
    try:
        return inspect.getsourcelines(owner)[1]
    except (OSError, TypeError):
        return 0  # a class that no `class` statement made
