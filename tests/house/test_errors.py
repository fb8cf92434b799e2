"""The tree of errors: one root, typed fields, messages that each class builds itself."""

from __future__ import annotations

import ast
import builtins
import inspect
import pickle
from typing import TYPE_CHECKING

import pytest

from eventbus import errors
from eventbus.errors import EventBusError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Source

#: What stands for a field in these tests, by its annotation. A new kind of field needs a new line.
SAMPLES = {
    "BaseException": ValueError("no such order"),
    "Sequence[Exception]": (ValueError("no such order"),),
    "Sequence[object]": (1, None),
    "Sequence[str]": ("emails", "default"),
    "Sequence[tuple[str, Exception]]": (("shop.listeners:audit", ValueError("no such order")),),
    "bool": True,
    "float": 1.5,
    "int": 3,
    "object": -1,
    "str": "emails",
    "str | None": "emails",
}

#: Built-in errors that may be raised with a text: they are how Python itself, or pytest, is told.
SPOKEN = frozenset({"AssertionError", "AttributeError"})

CLASSES = [
    cls
    for _, cls in inspect.getmembers(errors, inspect.isclass)
    if cls.__module__ == errors.__name__ and not issubclass(cls, Warning)
]


def fields(cls: type[EventBusError]) -> dict[str, inspect.Parameter]:
    """The keyword arguments of an error; a mere group of errors has none."""
    return {
        name: parameter
        for name, parameter in inspect.signature(cls).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


RAISED = [cls for cls in CLASSES if fields(cls)]


def test_the_module_exports_every_error_in_order():
    public = [
        name
        for name, cls in inspect.getmembers(errors, inspect.isclass)
        if cls.__module__ == errors.__name__ and not name.startswith("_")
    ]

    assert list(errors.__all__) == sorted(public)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_one_root_catches_every_error(cls: type[Exception]):
    assert issubclass(cls, EventBusError)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_the_tree_in_the_docstring_shows_every_error(cls: type[EventBusError]):
    drawn = [line.strip("│├└─ ").split(" ")[0] for line in (errors.__doc__ or "").splitlines()]

    assert cls.__name__ in drawn


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_error_says_what_it_means_and_whether_to_retry(cls: type[EventBusError]):
    assert vars(cls).get("__doc__")
    assert isinstance(cls.retryable, bool)


@pytest.mark.parametrize("cls", RAISED, ids=lambda cls: cls.__name__)
def test_an_error_survives_the_way_between_processes(cls: type[EventBusError]):
    given = {name: SAMPLES[str(parameter.annotation)] for name, parameter in fields(cls).items()}
    error = cls(**given)

    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is cls
    assert str(copy) == str(error)
    assert {name: repr(getattr(copy, name)) for name in given} == {
        name: repr(getattr(error, name)) for name in given
    }


@pytest.mark.parametrize("cls", RAISED, ids=lambda cls: cls.__name__)
def test_a_message_is_one_line(cls: type[EventBusError]):
    message = str(cls(**{n: SAMPLES[str(p.annotation)] for n, p in fields(cls).items()}))

    assert message.strip() == message
    assert message
    assert "\n" not in message


def calls(source: Source) -> Iterator[tuple[str, ast.Call, bool]]:
    """Every call by the last part of its name, and whether it is what a `raise` raises."""
    raised = {id(node.exc) for node in ast.walk(source.tree) if isinstance(node, ast.Raise)}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func).rpartition(".")[2], node, id(node) in raised


def is_text(node: ast.expr) -> bool:
    is_literal = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return is_literal or isinstance(node, ast.JoinedStr)


def test_our_errors_are_made_of_fields_not_of_texts(package_sources: tuple[Source, ...]):
    ours = {cls.__name__ for cls in CLASSES}
    texts = [
        f"{source.path}:{call.lineno} {name}"
        for source in package_sources
        if source.path != "eventbus/errors.py"
        for name, call, _ in calls(source)
        if name in ours and call.args
    ]

    assert texts == []


def test_no_built_in_error_is_raised_with_a_text(package_sources: tuple[Source, ...]):
    built_in = {name for name, value in vars(builtins).items() if is_exception(value)} - SPOKEN
    texts = [
        f"{source.path}:{call.lineno} {name}"
        for source in package_sources
        for name, call, is_raised in calls(source)
        if is_raised and name in built_in and any(map(is_text, call.args))
    ]

    assert texts == []


def test_the_tree_grows_nowhere_else(package_sources: tuple[Source, ...]):
    ours = {cls.__name__ for cls in CLASSES}
    elsewhere = [
        f"{source.path}:{node.lineno} {node.name}"
        for source in package_sources
        if source.path != "eventbus/errors.py"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ClassDef)
        if any(ast.unparse(base).rpartition(".")[2] in ours for base in node.bases)
    ]

    assert elsewhere == []


def is_exception(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)
