"""
The judge: a history in, a verdict out, and nothing else looked at.

A queue that promises "at least once" owes that each stored job ends (`lost`), that nothing else runs
(`unexpected`), that it runs with the bytes it was stored with (`altered`), and that a job is started
again for a reason only (`unexplained`), never without end (`overstarted`).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable

from attrs import define, field, frozen

from eventbus.defaults import ACK_WINDOW

from .history import Entry

__all__ = ["Verdict", "check"]


@frozen(kw_only=True)
class Verdict:
    """What became of the jobs of a history; jobs are called as their producer calls them."""

    #: Jobs whose dispatch returned.
    stored: int
    #: Runs that began.
    starts: int
    #: Stored, and neither ended nor failed.
    lost: tuple[str, ...]
    #: Ran, or failed, although no dispatch was attempted, or it was refused.
    unexpected: tuple[str, ...]
    #: Ran with another payload than was dispatched.
    altered: tuple[str, ...]
    #: Ran to their end more than once.
    duplicates: tuple[str, ...]
    #: Started again although no run of theirs raised, was killed, or was paused; once for each time.
    unexplained: tuple[str, ...]
    #: Raised more often than they may, or started more often than their tries and losses allow.
    overstarted: tuple[str, ...]
    #: Ended as failed jobs.
    failed: tuple[str, ...]
    #: Outcome of the dispatch not known: they may run or not.
    unknown: tuple[str, ...]
    #: Starts that a queue without faults would not have made.
    extra: int
    #: Runs that a death may have undone: it came in the middle, or before the ack that may still wait.
    at_risk: int
    #: Workers that were killed, or ended themselves.
    deaths: int
    #: Of those that were killed, how many were in the middle of a run.
    hits: int
    #: Seconds from each such death to the next start of the job it cut.
    recoveries: tuple[float, ...]

    @property
    def complaints(self) -> dict[str, tuple[str, ...]]:
        """What must never be, whatever was done to the workers."""
        named = {
            "lost": self.lost,
            "unexpected": self.unexpected,
            "altered": self.altered,
            "unexplained": self.unexplained,
            "overstarted": self.overstarted,
        }
        return {name: jobs for name, jobs in named.items() if jobs}


@define
class _Run:
    """One start of a job, and what became of it."""

    at: float
    worker: str
    ended_at: float | None = None
    #: When its worker told the store that it is done, and when it knew the answer.
    told_at: float | None = None
    acked_at: float | None = None
    raised: bool = False
    #: It said that it was about to end its process.
    doomed: bool = False

    @property
    def excused(self) -> bool:
        """Whether it says itself why there may be another."""
        return self.raised or self.doomed


@define
class _Job:
    stored: bool = False
    refused: bool = False
    attempted: bool = False
    unknown: bool = False
    failed: bool = False
    ends: int = 0
    digest: str = ""
    altered: bool = False
    runs: list[_Run] = field(factory=list)

    def last_run_of(self, worker: str) -> _Run | None:
        return next((run for run in reversed(self.runs) if run.worker == worker), None)


@frozen
class _Times:
    """What one worker did, by the clock: when it began runs, and when it came to the end of some."""

    starts: list[float]
    ends: list[float]


def check(
    history: Iterable[Entry], *, tries: int = 1, losses: int = 3, window: float = ACK_WINDOW
) -> Verdict:
    """
    Judge a history.

    Args:
        history: In the order in which it was written.
        tries: How often a job may raise.
        losses: How often it may lose its worker.
        window: Seconds for which a worker may keep the acks of what has ended, at most.

    No other duration is allowed for, so it judges alike on a machine that is slow: whether an ack had
    been given is known from the worker that gave it, and what is held against the window is not the
    instant of a death but what the worker had done by then. See `_kept_too_long`.
    """
    jobs, deaths, killed, pauses = _read(history)
    times = _times(jobs.values())
    dead = {_process(worker) for worker in deaths}
    extra: list[str] = []
    unexplained: list[str] = []
    at_risk = 0
    for name, job in jobs.items():
        needed = min(1, job.ends) + sum(run.excused for run in job.runs)
        extra += [name] * max(0, len(job.runs) - needed)
        cut = [not run.excused and _was_cut(run, dead, times, window) for run in job.runs]
        at_risk += sum(cut)
        causes = sum(
            run.excused or was_cut or _was_paused(run, pauses)
            for run, was_cut in zip(job.runs[:-1], cut, strict=False)
        )
        unexplained += [name] * max(0, len(job.runs) - 1 - causes)
    recoveries, hit = _recoveries(jobs.values(), deaths)
    return Verdict(
        stored=sum(job.stored for job in jobs.values()),
        starts=sum(len(job.runs) for job in jobs.values()),
        lost=_named(jobs, lambda job: job.stored and not job.ends and not job.failed),
        unexpected=_named(
            jobs,
            lambda job: (job.runs or job.failed) and (not job.attempted or job.refused),
        ),
        altered=_named(jobs, lambda job: job.altered),
        duplicates=_named(jobs, lambda job: job.ends > 1),
        unexplained=tuple(unexplained),
        overstarted=_named(
            jobs,
            lambda job: (
                len(job.runs) > tries + losses or sum(run.raised for run in job.runs) > tries
            ),
        ),
        failed=_named(jobs, lambda job: job.failed),
        unknown=_named(jobs, lambda job: job.unknown),
        extra=len(extra),
        at_risk=at_risk,
        deaths=len(deaths),
        hits=len(hit & killed),
        recoveries=tuple(recoveries),
    )


def _named(jobs: dict[str, _Job], condition: object) -> tuple[str, ...]:
    return tuple(name for name, job in jobs.items() if condition(job))  # type: ignore[operator]


def _read(
    history: Iterable[Entry],
) -> tuple[dict[str, _Job], dict[str, float], set[str], dict[str, list[tuple[float, float]]]]:
    """Return the jobs, when each worker that died did, who was killed, and when each was paused."""
    jobs: dict[str, _Job] = defaultdict(_Job)
    history = list(history)
    # A run says both names of its job, and so do the failed jobs; other entries have the id alone.
    names = {entry.id: entry.job for entry in history if entry.id and entry.job}
    deaths: dict[str, float] = {}
    killed: set[str] = set()
    pauses: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for entry in history:
        if entry.what in ("killed", "died", "doomed"):
            # One that ended itself says so first; it is seen to be dead later than it was.
            deaths.setdefault(entry.worker, entry.at)
        if entry.what in ("killed", "died"):
            killed |= {entry.worker} if entry.what == "killed" else set()
        elif entry.what == "paused":
            pauses[entry.worker].append((entry.at, float("inf")))
        elif entry.what == "resumed":
            began, _ = pauses[entry.worker].pop()
            pauses[entry.worker].append((began, entry.at))
        elif entry.what in ("told", "acked"):
            for name in entry.note.split():
                _note_ack(jobs[names.get(name, name)], entry)
        elif entry.what in _OF_JOBS:
            _note(jobs[entry.job or names.get(entry.id, entry.id)], entry)
    return jobs, deaths, killed, pauses


_OF_JOBS = {
    "attempted",
    "stored",
    "refused",
    "unknown",
    "start",
    "end",
    "raised",
    "doomed",
    "failed",
}


def _note(job: _Job, entry: Entry) -> None:
    if entry.what == "start":
        job.runs.append(_Run(entry.at, entry.worker))
        job.altered |= bool(job.digest) and entry.digest != job.digest
    elif entry.what in ("end", "raised", "doomed"):
        run = job.last_run_of(entry.worker)
        if run is not None:
            run.ended_at = entry.at if entry.what != "doomed" else None
            run.raised = entry.what == "raised"
            run.doomed = entry.what == "doomed"
        job.ends += entry.what == "end"
    elif entry.what == "attempted":
        job.attempted, job.digest = True, entry.digest
    else:
        setattr(job, entry.what, True)  # stored, refused, unknown, failed


def _note_ack(job: _Job, entry: Entry) -> None:
    run = job.last_run_of(entry.worker)
    if run is not None and entry.what == "told":
        run.told_at = entry.at
    elif run is not None:
        run.acked_at = entry.at


def _times(jobs: Iterable[_Job]) -> dict[str, _Times]:
    """Return what each worker did, in order."""
    found: dict[str, _Times] = defaultdict(lambda: _Times([], []))
    for job in jobs:
        for run in job.runs:
            found[run.worker].starts.append(run.at)
            if run.ended_at is not None and not run.excused:
                found[run.worker].ends.append(run.ended_at)
    for times in found.values():
        times.starts.sort()
        times.ends.sort()
    return found


def _process(worker: str) -> str:
    """Return the process of a worker, which may be one of its threads."""
    return worker.rpartition("/")[0] or worker


def _was_cut(run: _Run, dead: set[str], times: dict[str, _Times], window: float) -> bool:
    """Tell whether its process died in the run, or before it knew that the store had the ack."""
    # Who ends a process names its threads first; one that had begun nothing until then is not among them.
    if _process(run.worker) not in dead or run.acked_at is not None:
        return False
    if run.ended_at is None or run.told_at is not None:
        return True
    return not _kept_too_long(run.ended_at, times[run.worker], window)


def _kept_too_long(ended_at: float, times: _Times, window: float) -> bool:
    """
    Tell whether a worker had kept back an ack for longer than it may.

    It looks whether acks are due whenever a run has come to its end, before it begins another. The
    window of ours was open by the time it began the next run, at the latest. So where a run came to
    its end a window later, and yet another was begun after that, our ack must have been given.
    """
    following = bisect_right(times.starts, ended_at)
    if following == len(times.starts):
        return False
    looked = bisect_left(times.ends, times.starts[following] + window)
    return looked < len(times.ends) and times.ends[looked] < times.starts[-1]


def _was_paused(run: _Run, pauses: dict[str, list[tuple[float, float]]]) -> bool:
    """Tell whether its worker was paused in it, or before it knew that the store had the ack."""
    over = run.acked_at if run.acked_at is not None else run.ended_at
    if over is None or (run.told_at is not None and run.acked_at is None):
        over = float("inf")
    return any(run.at <= end and began <= over for began, end in pauses.get(run.worker, ()))


def _recoveries(jobs: Iterable[_Job], deaths: dict[str, float]) -> tuple[list[float], set[str]]:
    found: list[float] = []
    hit: set[str] = set()
    for job in jobs:
        for run, following in zip(job.runs, [*job.runs[1:], None], strict=False):
            died_at = deaths.get(run.worker)
            if died_at is not None and run.ended_at is None:
                hit.add(run.worker)
                if following is not None:
                    found.append(following.at - died_at)
    return found, hit
