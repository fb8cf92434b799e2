"""Nothing in a payload is imported, looked up, evaluated or unpickled, and pydantic is not needed."""

from __future__ import annotations

import subprocess
import sys
import textwrap

PROGRAM = """
import json
import pickle
import sys
from datetime import UTC, datetime

import attrs
from eventbus.dispatch.names import event
from eventbus.errors import DecodeError, UnknownName
from eventbus.queue.codec.document import Document, read, write
from eventbus.queue.codec.typed import EventTypes, PayloadCodec

assert "pydantic" not in sys.modules

@event("order.shipped", aliases=["pickle.loads"])
@attrs.frozen
class Shipped:
    order_id: int
    note: object = None

NAMES = ["os:system", "os.system", "builtins:eval", "this", "antigravity", "a.b:c", "__main__:exec"]
DATA = [
    {"__class__": "os.system"}, {"py/object": "os.system"}, {"__reduce__": ["os.system", ["true"]]},
    {"$type": "os"}, {"order_id": {"__init__": "eval"}}, "{0.__class__}", "__import__('os')",
    pickle.dumps(print, 0).decode(), {"order_id": 1, "note": "__import__('this')"}, [["os:system"]],
]
types = EventTypes()
types.add(Shipped)
payload = PayloadCodec((Shipped, int | Shipped))
now = datetime.now(UTC)
# Once beforehand, so that what Python itself loads at first use is loaded.
warm = types.lookup("order.shipped").encode(Shipped(1, "é"))
read(write(Document(id="a", kind="listener", name="n", event="e", payload="class", data=warm, dispatched_at=now)))
for broken in (b"{", b"\\xff", b'"\\\\ud800"'):
    try:
        read(broken)
    except DecodeError:
        pass
try:
    types.lookup("order.shippe")
except UnknownName:
    pass

seen = []
CAUGHT = ("import", "exec", "compile", "pickle.find_class", "marshal.loads", "os.system", "open",
          "subprocess.Popen", "socket.connect", "ctypes.dlopen", "object.__getattr__")
sys.addaudithook(lambda name, args: seen.append((name, args)) if name in CAUGHT else None)

refused = accepted = 0
for name in NAMES + ["order.shipped", "pickle.loads"]:
    for data in DATA:
        raw = json.dumps(data).encode()
        body = write(Document(
            id="a", kind="listener", name=name, event=name, payload="class", data=raw, dispatched_at=now
        ))
        for attack in (body, body[:-1], pickle.dumps(data), raw):
            for attempt in (
                lambda: types.lookup((found := read(attack)).event).decode(found.data, found.version),
                lambda: payload.decode(attack),
                lambda: types.lookup("order.shipped").decode(attack, 1),
            ):
                try:
                    attempt()
                    accepted += 1
                except (DecodeError, UnknownName):
                    refused += 1
assert seen == [], seen
print(refused, accepted, "pydantic" in sys.modules, "this" in sys.modules)
"""


def test_reading_hostile_documents_imports_runs_and_unpickles_nothing():
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )

    assert done.stderr == ""
    refused, accepted, *loaded = done.stdout.split()
    # The one good document among them, under its two names, and its data as such each time.
    assert (int(refused) > 1_000, int(accepted) < 30, loaded) == (True, True, ["False", "False"])
