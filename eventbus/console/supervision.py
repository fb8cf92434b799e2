"""`eventbus supervisor`: what another program is told that keeps workers running."""

from __future__ import annotations

import math
import re
import shlex
import sys
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import click
from attrs import frozen

from eventbus.console.application import Application
from eventbus.console.exits import ExitCode, misused
from eventbus.console.subjects import counted, duration
from eventbus.defaults import GRACE, SUPERVISOR_PATIENCE

__all__ = ["supervisor"]

#: The name of a program: letters that no file name, unit or group of programs gives a meaning.
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_NOT_OF_A_NAME: Final = re.compile(r"[^A-Za-z0-9_.]+")
#: What ends a value, or begins a comment behind it, in the files of both.
_UNWRITABLE: Final = re.compile(r"[\x00-\x1f\x7f]|\s[;#]")

#: What supervisord makes the name of each process of; its own words, of which no per cent sign is doubled.
_ITS_NAME: Final = "%(program_name)s-%(process_num)d"


@frozen(kw_only=True)
class _Program:
    """Workers of the same queues."""

    name: str
    queues: str
    command: Sequence[str]
    processes: int
    directory: str
    user: str | None
    grace: float

    @property
    def about(self) -> str:
        """What its workers are, in words."""
        of = f"of {self.queues}" if self.queues else "of the default queue"
        return f"{counted(self.processes, 'worker')} {of}"

    @property
    def patience(self) -> int:
        """Seconds to wait for the end of a worker: its grace, and what it may need after that."""
        return math.ceil(self.grace + SUPERVISOR_PATIENCE)


@click.command("supervisor")
@click.argument("queues", nargs=-1, metavar="[QUEUES]...")
@click.option("--format", "form", type=click.Choice(["supervisord", "systemd"]),
              default="supervisord", metavar="FORMAT",
              help="supervisord or systemd. Default: supervisord.")  # fmt: skip
@click.option("--processes", type=click.IntRange(min=1), default=1, metavar="N",
              help="Workers of each. Default: 1.")  # fmt: skip
@click.option("--name", metavar="NAME",
              help="What the programs' names begin with. Default: the application's package.")  # fmt: skip
@click.option("--connection", metavar="NAME", help="The workers' --connection.")
@click.option("--grace", type=float, metavar="SECONDS",
              help=f"The workers' --grace. Default: theirs, {GRACE:g}.")  # fmt: skip
@click.option("--directory", type=click.Path(path_type=Path), metavar="PATH",
              help="Where they run. Default: the current folder.")  # fmt: skip
@click.option("--user", metavar="NAME", help="Who they run as. Default: not said.")
@click.option("--worker", metavar="PATH",
              help="The command `eventbus-worker`. Default: that of this environment.")  # fmt: skip
@click.pass_obj
def supervisor(
    application: Application,
    queues: tuple[str, ...],
    *,
    form: str,
    processes: int,
    name: str | None,
    connection: str | None,
    grace: float | None,
    directory: Path | None,
    user: str | None,
    worker: str | None,
) -> ExitCode:
    """
    Print what supervisord, or systemd, is told to keep workers running.

    One program for each of QUEUES, written as for `eventbus-worker --queue`: `emails`,
    `emails,default` or `emails=3,default=1`. The application is not loaded.
    """
    app = application.named()
    more = [] if connection is None else ["--connection", connection]
    if grace is not None:
        more += ["--grace", f"{duration(grace, '--grace'):g}"]
    command = [*([worker] if worker else _own_worker()), app]
    begin = name or _NOT_OF_A_NAME.sub("-", app.partition(":")[0].partition(".")[0]).strip("-")
    programs = [
        _Program(
            name=_named(begin, one),
            queues=one,
            command=[*command, *(["--queue", one] if one else []), *more],
            processes=processes,
            directory=str((directory or Path()).absolute()),
            user=user,
            grace=GRACE if grace is None else grace,
        )
        for one in queues or ("",)
    ]
    if len({one.name for one in programs}) < len(programs):
        misused("two of these would have one name: each queue in one program, with its weight")
    write: Callable[[_Program], str] = _supervisord if form == "supervisord" else _systemd
    click.echo("\n".join(write(one) for one in programs), nl=False)
    return ExitCode.DONE


def _own_worker() -> list[str]:
    script = Path(sysconfig.get_path("scripts"), "eventbus-worker")
    return [str(script)] if script.exists() else [sys.executable, "-m", "eventbus.worker"]


def _named(begin: str, queues: str) -> str:
    of = "-".join(part.partition("=")[0].strip() for part in queues.split(","))
    found = "-".join(filter(None, (begin, _NOT_OF_A_NAME.sub("-", of).strip("-"))))
    if not _NAME.fullmatch(found):
        misused(f"{found!r} cannot be the name of a program. Write --name with letters and digits")
    return found


def _supervisord(program: _Program) -> str:
    lines: list[tuple[str, Any]] = [
        ("command", f"{_doubled(shlex.join(program.command))} --name {_ITS_NAME}"),
        ("process_name", _ITS_NAME),
        ("numprocs", program.processes),
        ("directory", _doubled(program.directory)),
        *([("user", _doubled(program.user))] if program.user else []),
        ("autorestart", "true"),
        ("stopsignal", "TERM"),
        ("stopwaitsecs", program.patience),
        ("killasgroup", "true"),
        ("redirect_stderr", "true"),
    ]
    return f"""\
; {program.about}. In a file of /etc/supervisor/conf.d; then: supervisorctl update
[program:{program.name}]
{_written(lines)}"""


def _systemd(program: _Program) -> str:
    lines: list[tuple[str, Any]] = [
        ("Type", "exec"),
        ("WorkingDirectory", _doubled(program.directory)),
        *([("User", _doubled(program.user))] if program.user else []),
        ("ExecStart", f"{' '.join(map(_quoted, program.command))} --name %p-%i"),
        ("ExecReload", "kill -HUP $MAINPID"),
        ("Restart", "always"),
        ("RestartSec", 1),
        ("KillMode", "mixed"),
        ("TimeoutStopSec", program.patience),
    ]
    instances = "1" if program.processes == 1 else f"{{1..{program.processes}}}"
    return f"""\
# {program.about}. In /etc/systemd/system/{program.name}@.service; then:
# systemctl daemon-reload && systemctl enable --now {program.name}@{instances}
[Unit]
Description=eventbus: {_doubled(program.about.partition(" ")[2])}, %i
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
{_written(lines)}
[Install]
WantedBy=multi-user.target
"""


def _written(lines: Sequence[tuple[str, Any]]) -> str:
    for key, value in lines:
        if found := _UNWRITABLE.search(str(value)):
            misused(f"{key} cannot have {found[0]!r} in it, got: {value!r}")
    return "".join(f"{key}={value}\n" for key, value in lines)


def _doubled(value: str) -> str:
    return value.replace("%", "%%")


def _quoted(argument: str) -> str:
    """Return an argument as systemd reads it."""
    text = _doubled(argument).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return text if re.fullmatch(r"[\w@%+=:,./$-]+", text) else f'"{text}"'
