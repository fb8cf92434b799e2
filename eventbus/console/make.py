"""`eventbus make`: the first lines of an event, a listener, a job or middleware, in a file of its own."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final, Self

import click
from attrs import frozen

from eventbus.console.exits import ExitCode, misused, say

__all__ = ["make"]

#: Where the words of a name such as `HTTPPing2Sent` part.
_WORDS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|_+")
#: What the files import, or call something else.
_TAKEN: Final = frozenset(
    {"Any", "Attempt", "Callable", "EventBus", "Job", "Probe", "ShouldQueue", *vars(builtins)}
)


@frozen
class _Made:
    """A class in a module of its own."""

    packages: tuple[str, ...]
    name: str

    @classmethod
    def named(cls, text: str) -> Self:
        """Return what is meant by `shop.jobs.SendReceipt`, `shop/jobs/send_receipt.py` and the like."""
        *packages, last = text.removesuffix(".py").replace("/", ".").split(".")
        name = last if last != last.lower() else "".join(map(str.capitalize, last.split("_")))
        for one in (*packages, name):
            if not one.isidentifier() or keyword.iskeyword(one):
                misused(
                    f"expected packages and a class such as shop.jobs.SendReceipt, got: {text!r}"
                )
        if name in _TAKEN:
            misused(
                f"the name {name!r} means something else in Python, or in the file that is made"
            )
        return cls(tuple(packages), name)

    @property
    def _words(self) -> list[str]:
        return [one.lower() for one in _WORDS.split(self.name)]

    @property
    def stem(self) -> str:
        """The name of its file, without what comes behind the point."""
        stem = "_".join(self._words)
        return f"{stem}_" if keyword.iskeyword(stem) else stem

    @property
    def module(self) -> str:
        return ".".join((*self.packages, self.stem))

    @property
    def stored_name(self) -> str:
        """What it is called in a store."""
        return "-".join(self._words)


@frozen
class _Files:
    """Writes what is made below a folder."""

    root: Path
    force: bool

    def write(self, texts: Iterable[tuple[Path, str]]) -> ExitCode:
        """Write all of these, or none where one is there already; print the path of each."""
        wanted = [(self.root / path, text) for path, text in texts]
        there = [path for path, _ in wanted if path.exists()]
        if there and not self.force:
            for path in there:
                say(f"{path} is there already; --force writes it anew")
            return ExitCode.UNDONE
        try:
            for path, text in wanted:
                self._make_packages(path)
                path.write_text(text, "utf-8")
                click.echo(path)
        except OSError as error:
            say(f"cannot write {error.filename}: {error.strerror}")
            return ExitCode.UNDONE
        return ExitCode.DONE

    def _make_packages(self, path: Path) -> None:
        """Make the folders that are not there, as packages; those of tests need not be any."""
        if path.parent.exists():
            return
        missing = [one for one in path.parents if not one.exists() and one != self.root]
        path.parent.mkdir(parents=True)
        for folder in reversed(missing):
            if folder != self.root / "tests":
                (folder / "__init__.py").touch()
                click.echo(folder / "__init__.py")


def _stub(kind: str, values: dict[str, str]) -> str:
    text = files("eventbus.console").joinpath("stubs", f"{kind}.txt").read_text("utf-8")
    return Template(text).substitute(values)


def _write(
    kind: str, made: _Made, *, root: Path, force: bool, test: bool, tested: str = "", **more: str
) -> ExitCode:
    values = {"made": made.name, "name": made.stored_name, "module": made.module, **more}
    texts = [(Path(*made.packages, f"{made.stem}.py"), _stub(kind, values))]
    if test:
        texts.append(
            (Path("tests", f"test_{made.stem}.py"), _stub(f"{tested or kind}_test", values))
        )
    return _Files(root, force).write(texts)


_name = click.argument("name")
_async = click.option("--async", "is_async", is_flag=True, help="Its function is async.")
_test = click.option("--test", is_flag=True, help="Also a test of it, in tests/.")
_force = click.option("--force", is_flag=True, help="Write files anew that are there already.")
_root = click.option("--root", type=click.Path(path_type=Path, file_okay=False), default=Path(),
                     metavar="PATH", help="What the packages lie in. Default: the current folder.")  # fmt: skip


def _defined(is_async: bool) -> dict[str, str]:  # noqa: FBT001 -- said by name where it is called
    return {"def_": "async def" if is_async else "def", "await_": "await " if is_async else ""}


@click.group("make", no_args_is_help=False)
def make() -> None:
    """
    Write the first lines of an event, a listener, a job or middleware.

    NAME is PACKAGE.CLASS, such as shop.jobs.SendReceipt: it is written into shop/jobs/send_receipt.py. Prints the
    path of each file that was written; one that is there already is left alone.
    """


@make.command("event")
@_name
@_test
@_force
@_root
def _event(name: str, *, test: bool, force: bool, root: Path) -> ExitCode:
    """Write an event class."""
    return _write("event", _Made.named(name), root=root, force=force, test=test)


@make.command("listener")
@_name
@click.option("--event", required=True, metavar="CLASS",
              help="What it listens to: shop.events.OrderShipped, as `make event` was told, or"
                   " MODULE:CLASS.")  # fmt: skip
@click.option("--queued", is_flag=True, help="A worker runs it.")
@_async
@_test
@_force
@_root
def _listener(
    name: str, *, event: str, queued: bool, is_async: bool, test: bool, force: bool, root: Path
) -> ExitCode:
    """Write a listener class."""
    module, colon, cls = event.partition(":")
    if not colon:
        heard = _Made.named(event)
        module, cls = heard.module, heard.name
    elif not all(one.isidentifier() for one in (*module.split("."), cls)):
        misused(f"expected a class such as shop.events:OrderShipped, got: {event!r}")
    made = _Made.named(name)
    if made.name == cls:
        misused(
            f"the listener and its event are both called {cls!r}: they would be one in its file"
        )
    return _write(
        "queued_listener" if queued else "listener",
        made,
        root=root,
        force=force,
        test=test,
        tested="listener",
        event=cls,
        event_module=module,
        **_defined(is_async),
    )


@make.command("job")
@_name
@_async
@_test
@_force
@_root
def _job(name: str, *, is_async: bool, test: bool, force: bool, root: Path) -> ExitCode:
    """Write a class of jobs."""
    made = _Made.named(name)
    return _write("job", made, root=root, force=force, test=test, **_defined(is_async))


@make.command("middleware")
@_name
@_async
@_test
@_force
@_root
def _middleware(name: str, *, is_async: bool, test: bool, force: bool, root: Path) -> ExitCode:
    """Write a class of middleware for jobs and queued listeners."""
    made = _Made.named(name)
    return _write("middleware", made, root=root, force=force, test=test, **_defined(is_async))
