"""
The short way of records whose fields are JSON's own scalars: no call for each field.

It only ever says that all is well. What is not as it mostly is goes the way of the forms, which says
what is wrong with it, or that it will do all the same.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from eventbus.defaults import DATA_SIZE_LIMIT
from eventbus.queue.codec.forms import Form
from eventbus.queue.codec.jsontext import LARGEST_INTEGER, LEAST_INTEGER
from eventbus.queue.codec.records import Record

__all__ = ["Flat", "flat"]

#: Most fields: a longer record gains little, and could be large before its size is looked at.
_MOST: Final = 64

_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder()


class Flat:
    """
    Writes and reads the objects of one class, where there is nothing to say about them.

    Args:
        record: The form of the class; each of its fields has types that are plain.
    """

    def __init__(self, record: Record) -> None:
        self._cls = record.cls
        self._made = record.made
        self._fields = [(one.key, one.attribute, one.form.plain) for one in record.slots]

    def encode(self, value: object) -> bytes | None:
        """Return `value` as `TypeCodec.encode` does, read back too; None if that is to say more."""
        if type(value) is not self._cls:
            return None
        made: dict[str, Any] = {}
        try:
            for key, attribute, plain in self._fields:
                one = made[key] = getattr(value, attribute)
                kind = type(one)
                if kind not in plain:
                    return None
                if kind is str:
                    if len(one) > DATA_SIZE_LIMIT:
                        return None
                elif kind is int and not LEAST_INTEGER <= one <= LARGEST_INTEGER:
                    return None
            data = _ENCODER.encode(made)
            back = _DECODER.decode(data)
            # A float that is not finite comes back as null.
            same = back == made and value == self._cls(**back)
        except Exception:  # noqa: BLE001 -- code of the user's, or half a surrogate pair: it is told
            return None
        return data if same and data.isascii() and len(data) <= DATA_SIZE_LIMIT else None

    def load(self, data: Any) -> Any:
        """Return the object that `data`, strict JSON, stands for; None if the form is to say more."""
        if type(data) is not dict or len(data) != len(self._fields):
            return None
        for key, _, plain in self._fields:
            if key not in data or type(data[key]) not in plain:
                return None
        # Once: what the constructor does beyond making the object must not be done twice.
        return self._made(data)


def flat(form: Form) -> Flat | None:
    """Return the short way of a form, if it has one."""
    if not isinstance(form, Record) or not 0 < len(form.slots) <= _MOST:
        return None
    return Flat(form) if all(slot.form.plain for slot in form.slots) else None
