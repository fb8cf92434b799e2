"""
What one of our verbs says to a Redis server, so that it can be said again without us.

The server is listened to (`MONITOR`) while the verb is called: whatever our code does on its way, what stands
beside it in a table is the same command with the same bytes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import redis
from attrs import frozen

_SAID = re.compile(rb"[\d.]+ \[\d+ (?P<who>[^\]]+)\] (?P<words>.*)", re.DOTALL)
_WORD = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_END = b"the verb has returned"


@frozen
class Said:
    """A command, and where in it stands what is another each time."""

    words: tuple[bytes, ...]
    places: tuple[tuple[int, Any], ...]

    def again(self, things: Mapping[Any, Any]) -> list[Any]:
        """Return the words with other things in their places."""
        words: list[Any] = list(self.words)
        for place, name in self.places:
            words[place] = things[name]
        return words


def overheard(
    client: redis.Redis, verb: Callable[[], Any], named: Callable[[Any], Mapping[Any, Any]]
) -> Said:
    """
    Return the script call that a verb sends.

    Args:
        client: Of the server that the verb talks to; the server must know the script by now.
        verb: Called once.
        named: Called with what it returned; names the words that will be others next time.
    """
    with client.monitor() as monitor:
        answer = verb()
        client.echo(_END)
        [words] = [words for words in _heard(monitor.connection) if words[0].upper() == b"EVALSHA"]
    names = {_bytes(word): name for name, word in named(answer).items()}
    return Said(
        tuple(words), tuple((at, names[word]) for at, word in enumerate(words) if word in names)
    )


def _bytes(word: Any) -> bytes:
    return word if isinstance(word, bytes) else str(word).encode()


def _heard(connection: Any) -> Iterator[list[bytes]]:
    """Yield the commands up to the last, without those of scripts."""
    while True:
        match = _SAID.fullmatch(connection.read_response(disable_decoding=True))
        if match is None or match["who"] == b"lua":
            continue
        # The server writes a word as Python writes bytes, but for the letter in front.
        said = match["words"].decode("latin-1")
        words = [ast.literal_eval(f"b{word}") for word in _WORD.findall(said)]
        if words[-1] == _END:
            return
        yield words
