"""How a worker ends: its exit codes, and the reasons to stop."""

from __future__ import annotations

from enum import IntEnum, StrEnum

__all__ = ["ExitCode", "StopReason"]


class ExitCode(IntEnum):
    """What `eventbus-worker` exits with."""

    #: Stopped as it was asked to; with `--once`, the job succeeded or there was none.
    DONE = 0
    #: `--once`, and the job raised.
    JOB_RAISED = 1
    #: The command was used wrongly.
    USAGE = 2
    #: The application cannot be loaded, or its listeners cannot.
    APPLICATION = 3
    #: The store cannot be used, and waiting would not help.
    BACKEND = 4
    #: It used more memory than `--memory` allows; the supervisor starts a fresh one.
    MEMORY = 12
    #: It had to interrupt a job, or what followed one, to stop in time; a job that had not ended is
    #: back in its queue.
    INTERRUPTED = 124
    #: A job, or what followed one, outran its timeout and could not be interrupted: settled, and the
    #: process ended around it.
    STUCK = 125


class StopReason(StrEnum):
    """Why a worker stopped, in the order in which it looks."""

    #: A signal came, or `Worker.stop` was called.
    SIGNAL = "signal"
    #: The process uses more than `memory`.
    MEMORY = "memory"
    #: `eventbus restart`, or SIGHUP.
    RESTART = "restart"
    #: `once`: a job ran, or none was due. What is paused is not due.
    ONCE = "once"
    #: Nothing is due, and it was to stop then. What is paused is not due.
    EMPTY = "empty"
    #: It ran for `max_time`.
    MAX_TIME = "max_time"
    #: It ran `max_jobs`.
    MAX_JOBS = "max_jobs"
    #: Something broke that is no job's fault; the error follows.
    ERROR = "error"
