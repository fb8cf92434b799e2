"""`eventbus-worker --processes`: several workers, each a process, and one that watches and replaces them."""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from types import FrameType
from typing import Final, Self

from attrs import define

from eventbus.defaults import RESTART_BACKOFF_LIMIT, SUPERVISOR_PATIENCE
from eventbus.worker.exits import ExitCode, StopReason
from eventbus.worker.ledger import SharedLedger, make_file
from eventbus.worker.slot import Slot

__all__ = ["run_processes"]

_log = logging.getLogger("eventbus.worker")

_STOPS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
_ORDERS: Final = (signal.SIGHUP, signal.SIGUSR2, signal.SIGCONT)
#: Nobody need start these anew: what is wrong is wrong for all of them.
_HOPELESS: Final = (ExitCode.USAGE, ExitCode.APPLICATION, ExitCode.BACKEND)
#: A worker that ends with one has settled what it held.
_SETTLED: Final = (ExitCode.INTERRUPTED, ExitCode.STUCK)
#: A worker that stopped for one of these has done what it was to do.
_OVER: Final = (StopReason.ONCE, StopReason.EMPTY)
#: What a process does to itself; any other signal somebody sent.
_CRASHES: Final = frozenset(
    {
        signal.SIGABRT,
        signal.SIGBUS,
        signal.SIGFPE,
        signal.SIGILL,
        signal.SIGSEGV,
        signal.SIGSYS,
        signal.SIGTRAP,
        signal.SIGXCPU,
    }
)
#: Seconds before a process is replaced that died as it began; doubled each time.
_FIRST_BACKOFF: Final = 0.5
#: Seconds between two looks whether a process lets no thread of its own run. A death is heard of at once.
_LOOK: Final = 1.0
#: Seconds after which a process is over its beginning.
_BEGUN: Final = 5.0


def run_processes(arguments: Sequence[str], count: int, *, ledgers: int, grace: float) -> int:
    """
    Keep `count` worker processes running until they are told to stop; return the worst exit code.

    A process that ends is replaced at once, by a fresh one that loads the application anew and settles what
    the other one held; unless it ended because nothing was left to do. Signals are passed on. SIGTERM,
    SIGINT and SIGQUIT end it all; when this process is killed, the others end as by SIGTERM.

    Args:
        arguments: Those of `eventbus-worker`.
        count: How many, >= 1.
        ledgers: How many each of them has, >= 1.
        grace: Seconds that running jobs have once it is to stop.
    """
    with _Processes(arguments, count, ledgers, grace) as processes:
        return processes.run()


@define(eq=False)
class _Place:
    """A slot, and who fills it."""

    number: int
    file: int
    ledgers: Sequence[SharedLedger]
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    #: When the next process is due to start.
    start_at: float = 0.0
    #: How many processes in a row died as they began.
    deaths: int = 0
    #: What the last one died of, if its job did it.
    how: str = ""
    #: Its job is over its time, and lets no thread run: it was killed.
    is_overdue: bool = False
    #: No process is to fill it any more.
    is_over: bool = False

    @property
    def reason(self) -> str:
        """Why its worker stopped; empty where it did not say."""
        return self.ledgers[0].reason

    @property
    def is_empty(self) -> bool:
        """Whether its worker held nothing."""
        return all(ledger.is_empty for ledger in self.ledgers)

    @property
    def has_worked(self) -> bool:
        """Whether its worker has had a job."""
        return any(ledger.has_worked for ledger in self.ledgers)


class _Processes:
    """The places, the signals, and when to stop."""

    def __init__(self, arguments: Sequence[str], count: int, ledgers: int, grace: float) -> None:
        self._command = [sys.executable, "-m", "eventbus.worker", *arguments]
        self._grace = grace
        self._places: list[_Place] = []
        self._count, self._ledgers = count, ledgers
        #: Signals that came and were not passed on yet.
        self._signals: deque[int] = deque()
        #: How many of them were to stop.
        self._stops = 0
        self._paused = False
        self._kill_at = float("inf")
        self._code = 0
        self._ending = ExitStack()
        self._woken = self._life = -1

    def __enter__(self) -> Self:
        with ExitStack() as ending:
            woken, wake = self._pipe(ending)
            os.set_blocking(woken, False)
            os.set_blocking(wake, False)
            self._woken = woken
            # Nobody writes into it. Its other end is ours alone, and so ends with us.
            self._life, _ = self._pipe(ending)
            for number in range(1, self._count + 1):
                file = make_file(self._ledgers)
                ending.callback(os.close, file)
                ledgers = [SharedLedger(file, one) for one in range(self._ledgers)]
                self._places.append(_Place(number=number, file=file, ledgers=ledgers))
            ending.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(wake))
            for number in (*_STOPS, *_ORDERS, signal.SIGCHLD):
                ending.callback(signal.signal, number, signal.signal(number, self._heard))
            self._ending = ending.pop_all()
        return self

    @staticmethod
    def _pipe(ending: ExitStack) -> tuple[int, int]:
        ends = os.pipe()
        for end in ends:
            ending.callback(os.close, end)
        return ends

    def __exit__(self, *_: object) -> None:
        # Something broke here: nobody would watch them any more.
        for place in self._running():
            self._send(place, signal.SIGTERM)
        self._ending.close()

    def run(self) -> int:
        """Watch until all is over."""
        while True:
            self._reap()
            while self._signals:
                self._pass_on(self._signals.popleft())
            if self._is_over():
                return self._code
            self._look()
            self._wait()

    def _is_over(self) -> bool:
        return not self._running() and all(place.is_over for place in self._places)

    def _running(self) -> list[_Place]:
        return [place for place in self._places if place.process is not None]

    # Signals.

    def _heard(self, number: int, _: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            self._signals.append(number)

    def _pass_on(self, number: int) -> None:
        if number in _STOPS:
            self._stops += 1
            self._stop(self._grace if self._stops == 1 else 0.0)
        elif number != signal.SIGHUP:
            self._paused = number == signal.SIGUSR2
        for place in self._running():
            self._send(place, number)

    def _stop(self, grace: float) -> None:
        self._kill_at = min(self._kill_at, time.monotonic() + grace + SUPERVISOR_PATIENCE)
        for place in self._places:
            place.is_over = True

    @staticmethod
    def _send(place: _Place, number: int) -> None:
        if place.process is not None:
            os.kill(place.process.pid, number)  # not reaped yet: it is still this process

    # Those that end.

    def _reap(self) -> None:
        """Hear of every process that has ended; of strangers too, which are ours where we are PID 1."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for place in self._places:
                if place.process is not None and place.process.pid == pid:
                    place.process.returncode = code = os.waitstatus_to_exitcode(status)
                    place.process = None
                    self._ended(place, code)

    def _ended(self, place: _Place, code: int) -> None:
        reason = place.reason
        if self._stops:
            # One that had not begun yet knows no better end.
            self._code = max(self._code, 0 if code == -signal.SIGTERM else _as_shells(code))
        elif code in _HOPELESS and place.is_empty:  # else a job exited with it
            self._code = code
            self._signals.append(signal.SIGTERM)
            place.is_over = True
        elif reason in _OVER:
            self._code = max(self._code, code)
            place.is_over = True
        elif reason and reason != StopReason.ERROR:
            _log.info("process %d ended (%s): another starts", place.number, reason)
        else:
            self._died(place, code)

    def _died(self, place: _Place, code: int) -> None:
        how = _described(code)
        _log.warning("process %d died (%s): another starts", place.number, how)
        if code in _SETTLED:
            for ledger in place.ledgers:
                ledger.settled()
        if place.is_overdue:
            place.how = "its job let no thread run, and outran its timeout"
        elif place.has_worked:
            place.how = how if code >= 0 or -code in _CRASHES else ""
        now = time.monotonic()
        if place.has_worked or now - place.started_at > _BEGUN:
            place.deaths = 0
            return
        pause = min(_FIRST_BACKOFF * 2 ** min(place.deaths, 10), RESTART_BACKOFF_LIMIT)
        place.deaths += 1
        place.start_at = now + pause

    # Those that begin, and those that do not end.

    def _look(self) -> None:
        now = time.monotonic()
        for place in self._places:
            if place.process is None:
                if not place.is_over and place.start_at <= now:
                    self._start(place)
            elif now >= self._kill_at:
                self._send(place, signal.SIGKILL)
            elif not place.is_overdue and any(one.is_overdue() for one in place.ledgers):
                place.is_overdue = True
                self._send(place, signal.SIGKILL)

    def _start(self, place: _Place) -> None:
        slot = Slot(
            number=place.number,
            life=self._life,
            file=place.file,
            paused=self._paused,
            how=place.how,
        )
        for ledger in place.ledgers:
            ledger.begin_anew()
        place.started_at, place.is_overdue = time.monotonic(), False
        try:
            place.process = subprocess.Popen(  # noqa: S603 -- what we were started as
                self._command,
                env={**os.environ, **slot.variable},
                stdin=subprocess.DEVNULL,
                pass_fds=(slot.life, slot.file),
                # Ctrl-C is for us, and we pass it on: two of them would end them at once.
                process_group=0,
            )
        except OSError as error:  # no process to be had, or no memory
            place.start_at = place.started_at + RESTART_BACKOFF_LIMIT
            _log.error("process %d cannot be started, next try in %g s: %s",
                       place.number, RESTART_BACKOFF_LIMIT, error)  # fmt: skip

    def _wait(self) -> None:
        now = time.monotonic()
        due = [place.start_at for place in self._places if not (place.process or place.is_over)]
        limit = min([_LOOK, *(at - now for at in (*due, self._kill_at))])
        if select.select([self._woken], [], [], max(0.0, limit))[0]:
            os.read(self._woken, 4096)


def _as_shells(code: int) -> int:
    return code if code >= 0 else 128 - code


def _described(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {-code}, {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
