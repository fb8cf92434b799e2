"""A URL that was taken apart, and what may be shown of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from attrs import field, frozen

from eventbus.errors import InvalidOption, UnknownOption

__all__ = ["Address", "apart", "redacted"]

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")


@frozen(kw_only=True)
class Address:
    """A URL that was taken apart; `shown` is what may be shown of it."""

    shown: str
    parts: SplitResult = field(repr=False)  # passwords
    options: Mapping[str, str] = field(repr=False)

    def without_place(self) -> None:
        """Refuse a host or path: this kind of backend is nowhere."""
        if self.parts.netloc or self.parts.path:
            raise self.refused(expected=f"just {self.parts.scheme}://")

    def only(self, *known: str) -> None:
        """Refuse an option that is not among `known` or what every URL takes."""
        for option in self.options:
            if option not in known and option != "queue":
                raise UnknownOption(option=option, known=("queue", *known), where=self.shown)

    def seconds(self, option: str, default: float) -> float:
        """Return an option that is a number of seconds; the backend says which it takes."""
        text = self.options.get(option)
        if text is None:
            return default
        try:
            return float(text)
        except ValueError:
            raise InvalidOption(
                option=option, value=text, expected="a number of seconds", where=self.shown
            ) from None

    def refused(self, *, expected: str) -> InvalidOption:
        """Return the error that this URL is none of ours."""
        return InvalidOption(option="url", value=self.shown, expected=expected)


def redacted(url: str) -> str:
    """
    Return what may be shown of `url`: no user, no password, no options.

    Example:
        >>> redacted("redis://me:secret@localhost/0?password=secret")
        'redis://***@localhost/0'
    """
    scheme, separator, rest = url.partition("://")
    if not separator or not _SCHEME.fullmatch(scheme):
        # Another form, "host=... password=..." say: what is no scheme may be a secret.
        scheme, colon, _ = url.partition(":")
        return f"{scheme}:..." if colon and _SCHEME.fullmatch(scheme) else "..."
    # The last "@", wherever it is: a password that was not quoted may hold "/", "?" and "#".
    _, at, place = rest.rpartition("@")
    place = place.partition("?")[0].partition("#")[0]
    return f"{scheme}://***@{place}" if at else f"{scheme}://{place}"


def apart(url: object) -> Address:
    """
    Take a URL apart.

    Raises:
        InvalidOption: It is none.

    Example:
        >>> apart("redis://:secret@localhost?timeout=2").options
        {'timeout': '2'}
    """
    if not isinstance(url, str) or "://" not in url:
        shown = redacted(url) if isinstance(url, str) else url
        raise InvalidOption(
            option="url", value=shown, expected="a URL such as sqlite:///eventbus.db"
        )
    shown = redacted(url)
    try:
        parts = urlsplit(url)
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        # Not chained: the parser's error may repeat the password.
        raise InvalidOption(option="url", value=shown, expected="a well-formed URL") from None
    taken = Address(shown=shown, parts=parts, options=dict(pairs))
    if parts.fragment:
        raise taken.refused(expected="a URL without '#'; in a path write %23")
    if len(taken.options) < len(pairs):
        raise taken.refused(expected="a URL that gives each option once")
    return taken
