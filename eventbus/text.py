"""
Text of others, as our messages, logs and tables may repeat it.

Names and errors come from users and from stores that others write to: nothing of them may move a
terminal's cursor, colour it, turn the direction of the text, begin a line, or go on for megabytes.
"""

from __future__ import annotations

from typing import Final

from eventbus.defaults import ACTION_TEXT_LIMIT

__all__ = ["class_name", "described", "one_line", "plain", "short", "shown"]

#: How `type` itself answers, whatever a metaclass has put in front of it.
_NAME: Final = type.__dict__["__name__"].__get__


def plain(value: object) -> str:
    """
    Return the `str` of a value, and never one of a subclass, whose methods could do anything.

    Raises what the value's own `__str__` raises.

    Example:
        >>> class Loud(str):
        ...     def __len__(self):
        ...         raise SystemExit(3)
        >>> len(plain(Loud("hello")))
        5
    """
    return str.__str__(str(value))


def class_name(cls: type) -> str:
    """
    Return the name of a class, short, even of one whose metaclass does not tell it.

    Example:
        >>> class_name(ValueError)
        'ValueError'
    """
    return short(_NAME(cls))


def one_line(text: object) -> str:
    r"""
    Return `text` on one line, each character that is not printable as its escape.

    Example:
        >>> print(one_line("red \x1b[31m, turned \u202e, torn \r\n"))
        red \x1b[31m, turned \u202e, torn \r\n
    """
    said = plain(text)
    if said.isprintable():
        return said
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in said)


def short(text: str) -> str:
    r"""
    Return `text` on one line, printable, and of at most `ACTION_TEXT_LIMIT` characters and a mark.

    Example:
        >>> short("a\nb")
        'a\\nb'
    """
    cut = one_line(str.__str__(text)[: ACTION_TEXT_LIMIT + 1])
    return cut if len(cut) <= ACTION_TEXT_LIMIT else f"{cut[:ACTION_TEXT_LIMIT]}..."


def described(error: BaseException) -> str:
    """
    Return the type and text of an exception, whatever its own methods do.

    Example:
        >>> described(ValueError("no such order"))
        'ValueError: no such order'
    """
    try:
        said = short(str(error))
    except BaseException:  # noqa: BLE001 -- what a user's __str__ raises ends nobody: not even SystemExit
        said = ""
    name = class_name(type(error))
    return f"{name}: {said}" if said else name


def shown(value: object) -> str:
    """
    Return the `repr` of a user's value, short; its class, if that raises.

    Example:
        >>> shown([1])
        '[1]'
    """
    try:
        return short(repr(value))
    except BaseException:  # noqa: BLE001 -- as above
        return f"a {class_name(type(value))}"
