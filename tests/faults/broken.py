"""
Workers that are wrong on purpose, so that it is known that the tests would see it.

Each is done to the process that loads the application, never to the code of eventbus.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from attrs import evolve
from msgspec.structs import replace

from eventbus.backends.base import Claim
from eventbus.backends.sqlite import SqliteBackend, load_driver

__all__ = ["ack_first", "any_token", "delete_then_decode", "losses_not_counted", "never_renewed"]


def ack_first() -> None:
    """Acknowledge a job when it is claimed, before it has run: "at most once"."""
    _in_two_steps()
    claim, ack = SqliteBackend.claim, SqliteBackend.ack

    def claim_and_ack(self: SqliteBackend, *args: Any, **options: Any) -> list[Claim]:
        claims = claim(self, *args, **options)
        ack(self, claims)
        return claims

    SqliteBackend.claim = claim_and_ack  # type: ignore[method-assign]
    SqliteBackend.ack = SqliteBackend.extend = _all_is_well  # type: ignore[method-assign,assignment]


def any_token() -> None:
    """Settle a job by its id alone, whoever has it by now."""
    _in_two_steps()
    for name in ("ack", "release", "bury", "extend"):
        setattr(SqliteBackend, name, _with_the_stored_token(getattr(SqliteBackend, name)))


def losses_not_counted() -> None:
    """Hand a job out again without a word of the workers that it cost."""
    _in_two_steps()
    claim = SqliteBackend.claim

    def forgetful(self: SqliteBackend, *args: Any, **options: Any) -> list[Claim]:
        claims = claim(self, *args, **options)
        if any(one.losses for one in claims):
            _change(self, "UPDATE envelopes SET losses = 0")
        return [replace(one, losses=0) for one in claims]

    SqliteBackend.claim = forgetful  # type: ignore[method-assign]


def delete_then_decode() -> None:
    """Take a job out of the store, look at its bytes, and stumble."""
    _in_two_steps()
    claim, ack = SqliteBackend.claim, SqliteBackend.ack

    def pop(self: SqliteBackend, *args: Any, **options: Any) -> list[Claim]:
        read: list[Claim] = []
        while not read and (found := claim(self, *args, **options)):
            for one in found:
                try:
                    json.loads(one.envelope.body)
                except ValueError:
                    ack(self, [one])
                else:
                    read.append(one)
        return read

    SqliteBackend.claim = pop  # type: ignore[method-assign]


def never_renewed() -> None:
    """Let the lease of a running job end."""
    SqliteBackend.extend = _all_is_well  # type: ignore[method-assign,assignment]


def _in_two_steps() -> None:
    """Have a worker say `ack` and `claim`, which are what is wrong, and not both in one."""
    capabilities = evolve(SqliteBackend.capabilities, exchange=False)
    SqliteBackend.capabilities = capabilities


def _all_is_well(_self: SqliteBackend, _claims: Sequence[Claim], **_options: Any) -> list[Claim]:
    return []


def _with_the_stored_token(verb: Callable[..., list[Claim]]) -> Callable[..., list[Claim]]:
    def settle(self: SqliteBackend, claims: Sequence[Claim], **options: Any) -> list[Claim]:
        held = []
        for one in claims:
            # One that nobody holds any more is gone, which is what whoever settles it wanted.
            found = _change(self, "SELECT token FROM envelopes WHERE id = ?", one.envelope.id)
            if found and found[0][0] is not None:
                held.append(replace(one, token=found[0][0]))
        verb(self, held, **options)
        return []

    return settle


def _change(backend: SqliteBackend, statement: str, *values: object) -> list[tuple[Any, ...]]:
    db = load_driver().connect(backend.path, timeout=20)
    try:
        with db:
            return list(db.execute(statement, values))
    finally:
        db.close()
