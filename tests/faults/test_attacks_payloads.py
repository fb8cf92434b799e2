"""Names and payloads that want to be run: Python's own audit events show that nothing of them is."""

from __future__ import annotations

import base64
import gzip
import json
import marshal
import pickle
import zlib
from pathlib import Path

import pytest

from .hostile import Hostile
from .poison import body, good, named

PROGRAM = Path(__file__).with_name("audited.py")

#: What a job may call its listener or event, and what is then looked for in the table of names.
NAMES = [
    "os.system",
    "os:system",
    "os/system",
    "builtins.eval",
    "builtins:eval",
    "builtins.exec",
    "eval",
    "exec",
    "__import__",
    "__import__('os').system('touch canary')",
    "subprocess.Popen",
    "subprocess:Popen",
    "pickle.loads",
    "marshal.loads",
    "importlib.import_module",
    "eventbus.cli:main",
    "eventbus.console.command:main",
    "eventbus.worker.command:main",
    "shop:bus",
    "shop:ran",
    "shop:Spring",
    "shop:Spring.handle",
    "shop.Spring",
    "__main__:main",
    "..x",
    ".",
    "a.b:c",
    "this",
    "xmlrpc.server",
    "trap.spring.__class__",
    "trap.spring.handle.__globals__",
    "__class__.__init__.__globals__",
    "__dict__",
    "Trap.Spring",
    "TRAP.SPRING",
    "trap.spring ",
    " trap.spring",
    "trap.spring\0",
    "trap.spring\n",
    "trap\u2024spring",
    "tr\u0430p.spring",
    "\uff54rap.spring",
    "trap.spr\u0131ng",
    "trap.sp\u200bring",
    "trap.*",
    "*",
    "x" * 10_000,
    "{0.__class__.__mro__}",
    "%(trap.spring)s",
    "${trap.spring}",
    "trap.spring|touch canary",
    "trap.spring; touch canary",
    "$(touch canary)",
    "`touch canary`",
    "../../etc/passwd",
    "file:///etc/passwd",
    "http://127.0.0.1:9/",
]


class Touching:
    """Touches a file as it is unpickled."""

    def __reduce__(self):
        import os

        return os.system, ("touch canary",)


def pickles():
    """Return bytes that run something for whoever unpickles or unmarshals them."""
    code = compile("__import__('os').system('touch canary')", "canary", "eval")
    return [
        *(pickle.dumps(Touching(), protocol=one) for one in range(6)),
        b"cos\nsystem\n(S'touch canary'\ntR.",
        b"\x80\x04c__builtin__\neval\n(X\x01\x00\x00\x001tR.",
        marshal.dumps(code),
        marshal.dumps([1, {"a": b"b"}]),
        b'!!python/object/apply:os.system ["touch canary"]',
        b"!!python/object/new:subprocess.Popen [[touch, canary]]",
        b"%YAML 1.2\n--- !<tag:yaml.org,2002:python/name:os.system>",
    ]


def blobs():
    """Return these bytes plain, compressed, and in base64; and bombs."""
    plain = pickles()
    packed = [pack(one) for one in plain for pack in (zlib.compress, gzip.compress)]
    bombs = [gzip.compress(b"\0" * 5_000_000), zlib.compress(b"[" * 5_000_000)]
    return [one for raw in (plain + packed + bombs) for one in (raw, base64.b64encode(raw))]


def everywhere(text):
    """Return documents that have `text` in one field each, where text cannot be the sound value."""
    keys = ("v", "id", "kind", "name", "event", "version", "payload", "options", "dispatched_at")
    yield from (body(**{key: f"{text}="}) for key in keys)  # so that it is no id
    yield from (body(**{key: [text]}) for key in keys)
    yield body(data=text)
    yield body(data={"number": text})
    yield body(data={"number": 1, "at": text})
    yield body(data={"number": 1, "tags": {"": text}})
    yield body(data={"number": 1, text: 1})
    yield named([text, text])
    yield named(text)


#: Keys and values by which other libraries rebuild objects (A3).
SHAPES = [
    {key: value}
    for key in (
        "__class__", "__init__", "__dict__", "__module__", "__reduce__", "__reduce_ex__",
        "__setstate__", "__globals__", "__class__.__init__.__globals__", "__type__", "$type",
        "@type", "py/object", "py/reduce", "py/function", "_target_", "class", "callable",
        "exc_module", "!!python/object",
    )
    for value in ("os.system", ["os.system", ["touch canary"]], {"args": ["touch canary"]})
]  # fmt: skip


def shaped():
    for one in SHAPES:
        yield body(data=one)
        yield body(data={"number": 1, **one})
        yield body(data={"number": one})
        yield body(**one)
        yield named([one, one])


@pytest.fixture
def hostile(tmp_path):
    return Hostile(tmp_path)


def audited(hostile, bodies, *, url=None, variant="real"):
    """Run jobs of these bodies under the audit hook; return what was seen."""
    (hostile.folder / "bodies").write_text(
        json.dumps([base64.b64encode(one).decode() for one in bodies])
    )
    url = url or f"sqlite:///{hostile.folder}/queue.db"
    done = hostile.python(str(PROGRAM), str(hostile.folder), url, variant)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


ATTACKS = {
    "names": lambda: [
        one for name in NAMES for one in (body(name=name), body(event=name), body(kind=name))
    ],
    "payloads": blobs,
    "payloads in every field": lambda: [
        one
        for blob in pickles()
        for text in (blob.decode("latin-1"), base64.b64encode(blob).decode())
        for one in everywhere(text)
    ],
    "shapes": lambda: list(shaped()),
}


@pytest.mark.parametrize(
    "attack, url", [*((one, None) for one in ATTACKS), ("shapes", "memory://")]
)
def test_no_payload_makes_python_do_anything(hostile, attack, url):
    """A1, A2, A3: hostile names, pickles and shapes cause no import, no execution, no connection."""
    bodies = ATTACKS[attack]()
    assert len(bodies) >= 40

    found = audited(hostile, [*bodies, good(7)], url=url)

    assert found["seen"] == []
    assert found["ran"] == ["7"]
    assert found["pushed"] == len(bodies) + 1
    # None is gone: refused and kept, or parked because a later program might know its name.
    assert found["failed"] + found["waiting"] == len(bodies)
    assert not (hostile.folder / "canary").exists()


@pytest.mark.parametrize(
    "variant, attack, event",
    [
        ("unpickles", "payloads", "pickle.find_class"),
        ("imports", "names", "import"),
        ("evaluates", "names", "exec"),
    ],
)
def test_the_hook_sees_a_reader_that_trusts_its_payloads(hostile, variant, attack, event):
    """A2: a deliberately vulnerable variant of the reader is caught."""
    found = audited(hostile, ATTACKS[attack](), url="memory://", variant=variant)

    assert any(one.startswith(event) for one in found["seen"])
    assert any("os.system" in one for one in found["seen"])
