"""
What a type checker accepts as a listener, a decorated listener or a resolver. For checkers only.

Other modules import this one under `TYPE_CHECKING`: it costs an application nothing. What the
program itself refuses, at registration, is in `listeners`.

A checker must know `TypeForm`, so that an ABC can be an event: mypy 1.19 or newer, or pyright.

What checkers cannot tell:

- mypy, in versions up to 2.0 at least, does not infer the type of a mapping that mixes functions
  with import strings, or a list with another list, in `EventBus(listen={...})`. mypy 2.4 does.
- `bus.listen(OrderShipped, Ledger)` is rejected where `Ledger` has only a `handle_shipped`: which
  method fits is looked up when the program runs. Write `(Ledger, "handle_shipped")`.
- Bare `@listens` above a class without `handle` or `__call__`: a listener or an event? Write
  `@listens()`.
- `bus.listen([OrderShipped, OrderReturned], lambda event: ...)`: mypy does not carry the classes of
  a list into a lambda. Write a function, or `OrderShipped | OrderReturned`. A lambda cannot ask for
  more than the event either: it has no hints.
- A list that mixes classes with names is rejected. Write two calls.
- `list[int]`, a class without handlers and a wrong name in an import
  string or in a `(Class, "method")` are accepted, and refused when the program runs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Concatenate, Never, ParamSpec, Protocol, TypeAlias, TypeVar, overload

__all__ = [
    "E1",
    "E2",
    "E3",
    "E4",
    "AnyListener",
    "AsyncGet",
    "C",
    "Calls",
    "ClassOf",
    "E",
    "Get",
    "Handles",
    "Hinted",
    "ListenerOf",
    "ListensByHint",
    "ListensByName",
    "ListensTo",
    "Named",
    "P",
]

C = TypeVar("C")
E = TypeVar("E")
E1 = TypeVar("E1")
E2 = TypeVar("E2")
E3 = TypeVar("E3")
E4 = TypeVar("E4")
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
_E_co = TypeVar("_E_co", covariant=True)
_E_contra = TypeVar("_E_contra", contravariant=True)
_C_co = TypeVar("_C_co", covariant=True)
_R_co = TypeVar("_R_co", covariant=True)


class Handles(Protocol[_E_contra]):
    """An object whose `handle` takes the event; what follows the event is injected."""

    @property
    def handle(self) -> Callable[Concatenate[_E_contra, ...], object]:
        """Sync or async, of the object, its class or neither."""
        ...


class Calls(Protocol[_E_contra]):
    """An object that is called with the event."""

    def __call__(self, event: _E_contra, /, *args: Any, **kwargs: Any) -> object:
        """Hear the event, with what is injected behind it."""
        ...


#: A method of a class, or an import string. No checker sees through these.
Named: TypeAlias = tuple[type[Any], str] | str

#: What hears the event class `E`.
ListenerOf: TypeAlias = (
    Callable[Concatenate[E, ...], object] | Handles[E] | type[Handles[E]] | type[Calls[E]] | Named
)

#: What hears a name or a wildcard. Its arguments depend on the payload: only the shape is checked.
AnyListener: TypeAlias = (
    Callable[..., object] | Handles[Never] | type[Handles[Never]] | type[Calls[Never]] | Named
)

#: A listener whose hints say what it hears.
Hinted = TypeVar(
    "Hinted", bound=Callable[Concatenate[Any, ...], object] | Handles[Never] | type[Any] | Named
)


# What `@listens(OrderShipped)` is put above must take the event, and comes back as it was. Python
# has no intersection types; an overloaded `__call__` in a protocol is one. What is passed must fit
# every overload: the first captures the exact signature, the second demands that it takes the event.


class _Function(Protocol[_E_contra, P, _R_co]):  # pyright: ignore[reportInvalidTypeVarUse] # P hides _E_contra
    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> _R_co: ...
    @overload
    def __call__(self, event: _E_contra, /, *args: Any, **kwargs: Any) -> object: ...


class _Method(Protocol[_E_contra, P, _R_co]):  # pyright: ignore[reportInvalidTypeVarUse] # P hides _E_contra
    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> _R_co: ...
    @overload
    def __call__(self, self_: Any, event: _E_contra, /, *args: Any, **kwargs: Any) -> object: ...


class ClassOf(Protocol[_E_contra, P, _C_co]):
    """A class whose objects hear the event, with its own constructor."""

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> _C_co: ...
    @overload
    def __call__(self, *args: Any, **kwargs: Any) -> Handles[_E_contra] | Calls[_E_contra]: ...


class ListensTo(Protocol[_E_co]):
    """What `@listens(OrderShipped)` is: the listener must take that event."""

    @overload
    def __call__(self, listener: ClassOf[_E_co, P, C], /) -> type[C]: ...
    @overload
    def __call__(self, listener: _Function[_E_co, P, R], /) -> Callable[P, R]: ...
    @overload
    def __call__(self, listener: _Method[_E_co, P, R], /) -> Callable[P, R]: ...


class ListensByHint(Protocol):
    """What `@listens()` and `@bus.listen(priority=1)` are: the listener's hints say the event."""

    def __call__(self, listener: Hinted, /) -> Hinted:
        """Return the listener as it is."""
        ...


class ListensByName(Protocol):
    """What `@listens("order.*")` is."""

    def __call__(self, listener: T, /) -> T:
        """Return the listener as it is."""
        ...


class Get(Protocol):
    """A container's `get`: called with a type, returns an instance."""

    def __call__(self, wanted: type[T], /) -> T:
        """Return an instance."""
        ...


class AsyncGet(Protocol):
    """The `get` of an async container."""

    def __call__(self, wanted: type[T], /) -> Awaitable[T]:
        """Return something to await for an instance."""
        ...
