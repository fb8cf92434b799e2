"""Exceptions whose own methods fight back: a failed attempt each, with a bounded text."""

from __future__ import annotations

import json

import pytest

from eventbus.defaults import ERROR_TEXT_LIMIT
from tests.forms import FULL

from .hostile import MEASURED, Hostile, is_plain
from .poison import APPLICATION, Poison, body, good

RAISING = (
    f"LARGE = {50_000_000 if FULL else 5_000_000}\n"
    '''
import asyncio

def saying(answer, base=Exception, **more):
    """Return an exception whose text is what `answer` returns, or raises."""
    def say(self):
        return answer()
    return type("Odd", (base,), {"__str__": say, "__repr__": say, **more})()

def throwing(error):
    def throw(*_, **__):
        raise error
    return throw

def noted(notes):
    error = ValueError("noted")
    error.__notes__ = notes
    return error

def deep(levels):
    error = ValueError("innermost")
    for _ in range(levels):
        error = ExceptionGroup("level", [error])
    return error

def chained(links, how):
    error = first = ValueError("link")
    for _ in range(links):
        below = ValueError("link")
        setattr(error, how, below)
        error = below
    return first

def circle():
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    return one

def syntax(**more):
    error = SyntaxError("odd")
    for name, value in more.items():
        setattr(error, name, value)
    return error

class Text(str):
    """A text that is none."""
    __len__ = __getitem__ = __iter__ = __add__ = __radd__ = throwing(SystemExit(3))
    encode = splitlines = strip = replace = isprintable = __format__ = throwing(SystemExit(3))

class Meta(type):
    """A class that does not even tell its name."""
    def __getattribute__(cls, name):
        if name in ("__module__", "__name__", "__qualname__"):
            raise SystemExit(3)
        return type.__getattribute__(cls, name)

class Nameless(Exception, metaclass=Meta):
    __str__ = __repr__ = throwing(SystemExit(3))

class Sly(Exception):
    """Nothing can be asked of it."""
    def __getattribute__(self, name):
        raise SystemExit(3)

class Falsy(Exception):
    def __bool__(self): return False
    def __len__(self): return 0

class Equal(Exception):
    __eq__ = __ne__ = throwing(SystemExit(3))
    __hash__ = throwing(SystemExit(3))

def named(name):
    return type(name, (Exception,), {"__module__": name})(name)

def recursion():
    def again(): again()
    again()

def lost_attribute():
    class Odd:
        def __getattribute__(self, name): raise AttributeError(name, name=name, obj=self)
        def __dir__(self): raise SystemExit(3)
    Odd().some

ERRORS = {
    "str raises": lambda: saying(throwing(ValueError())),
    "str exits": lambda: saying(throwing(SystemExit(3))),
    "str interrupts": lambda: saying(throwing(KeyboardInterrupt())),
    "str is cancelled": lambda: saying(throwing(asyncio.CancelledError())),
    "str ends generators": lambda: saying(throwing(GeneratorExit())),
    "str recurs": lambda: saying(recursion),
    "str has no memory": lambda: saying(throwing(MemoryError())),
    "str stops an iteration": lambda: saying(throwing(StopIteration())),
    "str is a number": lambda: saying(lambda: 7),
    "str is bytes": lambda: saying(lambda: b"x"),
    "str is odd": lambda: saying(lambda: Text("odd")),
    "str is large": lambda: saying(lambda: "x" * LARGE),
    "a base exception": lambda: saying(lambda: "base", BaseException),
    "SystemExit": lambda: SystemExit(0),
    "SystemExit of an object": lambda: SystemExit(saying(throwing(SystemExit(3)))),
    "GeneratorExit": lambda: GeneratorExit(),
    "CancelledError": lambda: asyncio.CancelledError(),
    "MemoryError": lambda: MemoryError(),
    "RecursionError": recursion,
    "StopIteration": lambda: StopIteration(7),
    "StopAsyncIteration": lambda: StopAsyncIteration(7),
    "a large message": lambda: ValueError("x" * LARGE),
    "large lines": lambda: ValueError("x" * 1_000 + "\\n" * LARGE),
    "a large key": lambda: KeyError("x" * LARGE),
    "a large object": lambda: ValueError(b"\\xff" * LARGE),
    "many arguments": lambda: ValueError(*range(LARGE // 50)),
    "half a surrogate pair": lambda: ValueError("\\ud800" * 100),
    "a file's name": lambda: FileNotFoundError(2, "no", b"\\xff\\xfe".decode("utf-8", "surrogateescape")),
    "NULs": lambda: ValueError("\\0" * 100),
    "ANSI": lambda: ValueError("\\x1b[2J\\r\\n2026-01-01T00:00:00Z INFO all is well"),
    "notes that are a number": lambda: noted(7),
    "notes that are None": lambda: noted(None),
    "notes that are text": lambda: noted("text"),
    "notes of many kinds": lambda: noted([7, None, b"x", [], saying(throwing(ValueError())), "\\ud800"]),
    "notes that exit": lambda: noted([saying(throwing(SystemExit(3)))]),
    "notes without end": lambda: noted(["x" * 1_000] * 10_000),
    "large notes": lambda: noted(["x" * LARGE] * 2),
    "a deep group": lambda: deep(1_000),
    "a wide group": lambda: ExceptionGroup("wide", [ValueError("x" * 10_000)] * 1_000),
    "groups in groups": lambda: ExceptionGroup("a", [ExceptionGroup("b", [KeyError(1)] * 30)] * 30),
    "a group that exits": lambda: ExceptionGroup("g", [saying(throwing(SystemExit(3)))]),
    "a group of the base": lambda: BaseExceptionGroup("g", [KeyboardInterrupt(), SystemExit(3)]),
    "a long chain of causes": lambda: chained(2_000, "__cause__"),
    "a long chain of contexts": lambda: chained(2_000, "__context__"),
    "a circle": circle,
    "odd syntax": lambda: syntax(text=7, offset="x", lineno=None, filename=b"x"),
    "syntax that exits": lambda: syntax(text=saying(throwing(SystemExit(3))), lineno=1, offset=1),
    "large syntax": lambda: syntax(text="x" * LARGE, lineno=1, offset=LARGE, filename="x"),
    "syntax out of range": lambda: syntax(text="x", lineno=-1, offset=10**30, end_offset=-1, filename=""),
    "syntax of a message": lambda: syntax(msg=saying(throwing(SystemExit(3)))),
    "an attribute": lost_attribute,
    "no name": lambda: Nameless(),
    "sly": lambda: Sly(),
    "false": lambda: Falsy(),
    "false and grouped": lambda: ExceptionGroup("g", [Falsy()]),
    "equal to all": lambda: Equal(),
    "a name with a line end": lambda: named("x\\r\\ny"),
    "a name that paints": lambda: named("\\x1b[31mx"),
    "a name of 100,000 letters": lambda: named("x" * 100_000),
    "a class as an error": lambda: ValueError,
}

@event("trap.thrown")
@frozen
class Thrown:
    name: str

class Throw(ShouldQueue):
    name = "throw.it"
    def handle(self, event: Thrown) -> None:
        ran(f"throw {event.name}")
        raise ERRORS[event.name]()

class AsyncThrow(ShouldQueue):
    name = "throw.async"
    async def handle(self, event: Thrown) -> None:
        ran(f"throw async {event.name}")
        raise ERRORS[event.name]()

class Fail(ShouldQueue):
    name = "throw.failed"
    def handle(self, event: Thrown) -> None:
        raise ValueError("for failed()")
    def failed(self, event: Thrown, error: BaseException) -> None:
        ran(f"throw failed {event.name}")
        raise ERRORS[event.name]()

class Build(ShouldQueue):
    name = "throw.built"
    def __init__(self) -> None:
        ran("throw built")
        raise ERRORS[os.environ["TRAP_ERROR"]]()
    def handle(self, event: Thrown) -> None: ...

for one in (Throw, AsyncThrow, Fail, Build):
    bus.listen(Thrown, one)

@event("trap.brittle")
@frozen
class Brittle:
    name: str
    def __attrs_post_init__(self):
        ran(f"throw decoded {self.name}")
        raise ERRORS[self.name]()

class Break(ShouldQueue):
    name = "throw.decode"
    def handle(self, event: Brittle) -> None: ...

bus.listen(Brittle, Break)
'''
)

LISTENERS = {
    "handle": ("throw.it", "trap.thrown"),
    "async handle": ("throw.async", "trap.thrown"),
    "failed": ("throw.failed", "trap.thrown"),
    "the event's constructor": ("throw.decode", "trap.brittle"),
}


def names():
    """Return the names of the errors, as the application has them."""
    _, _, text = RAISING.partition("ERRORS = {")
    lines = text.partition("\n}")[0].splitlines()
    return [line.split('"')[1] for line in lines if line.startswith('    "')]


@pytest.fixture
def hostile(tmp_path):
    return Hostile(tmp_path, APPLICATION + RAISING + MEASURED)


@pytest.mark.parametrize("where", LISTENERS)
@pytest.mark.timeout(120)
def test_an_error_that_fights_back_is_a_failed_attempt(hostile, where):
    """F8: whatever an exception's own methods do, the job fails with a bounded text, and others run."""
    hostile.make_file()
    listener, event = LISTENERS[where]
    errors = names()
    assert len(errors) > 50
    with hostile.file() as file:
        for at, name in enumerate(errors):
            job = body(name=listener, event=event, version=1, data={"name": name})
            file.write([(f"bad{at:03}", Poison(name=name, body=job))])
            file.write([(f"good{at:03}", Poison(name="good", body=good(at)))])

        worker = hostile.work("--tries", "1")

        assert worker.returncode == 0, worker.stderr[-3_000:]
        assert [one for one in hostile.ran if one.isdigit()] == [
            str(at) for at in range(len(errors))
        ]
        thrown = [one for one in hostile.ran if one.startswith("throw")]
        assert len(thrown) == len(errors)
        failed = file.rows("failed")
        assert file.rows("envelopes") == {}
    assert {errors[int(key[3:])] for key in failed} == set(errors)
    for key, row in failed.items():
        name = errors[int(key[3:])]
        assert 0 < len(row["error"]) <= ERROR_TEXT_LIMIT, name
        row["error"].encode()
    assert is_plain(worker.stderr)
    before, after = (int(one.split()[1]) for one in worker.stdout.splitlines() if "kilo" in one)
    copies = 30  # that Python makes while it shows one: it lists its lines, twice
    assert after - before < (64 + copies * (50 if FULL else 5)) * 1024
    listed = hostile.console("failed", "--json")
    assert len(json.loads(listed.stdout)) == len(errors)


@pytest.mark.parametrize("name", ["false", "GeneratorExit", "str exits", "no name", "sly"])
def test_a_listener_that_cannot_be_built_fails_its_job(hostile, name):
    """F8: the same from a listener's constructor."""
    hostile.make_file()
    with hostile.file() as file:
        job = body(name="throw.built", event="trap.thrown", version=1, data={"name": name})
        file.write([("bad", Poison(name=name, body=job)), ("good", Poison(name="g", body=good(7)))])

        worker = hostile.work("--tries", "1", TRAP_ERROR=name)

        assert worker.returncode == 0, worker.stderr[-3_000:]
        assert "7" in hostile.ran
        assert list(file.rows("failed")) == ["bad"]
