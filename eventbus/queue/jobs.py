"""Jobs: work that needs no event, a class with typed fields and a `handle`."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypedDict

import attrs
from typing_extensions import dataclass_transform

from eventbus.dispatch.hints import NO_HINT, UnusableHint, is_async
from eventbus.dispatch.targets import Target, describe
from eventbus.errors import InvalidJob, UnknownOption
from eventbus.queue import checks
from eventbus.queue.attempt import InteractsWithQueue
from eventbus.queue.options import HOOKS, KNOWN, RULED, Method, QueueOptions, checked

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Unpack

    from eventbus.dispatch.around import Step
    from eventbus.queue.attempt import Attempt
    from eventbus.queue.middleware import Middleware
    from eventbus.queue.options import Duration, Rule
    from eventbus.queue.uniqueness import Debounce, Unique

__all__ = [
    "Job",
    "JobOptions",
    "is_runnable",
    "job_target",
    "kinds_below",
    "names_of",
    "read_job",
    "stored_name",
]

#: What a class says for itself alone: two kinds of job cannot have one name.
_OWN: Final = ("name", "aliases", "display_name")
#: What a class keyword may be.
_KEYWORDS: Final = tuple(one for one in KNOWN if one not in HOOKS)
#: What no field can be called: `Job` has another use for it.
_TAKEN: Final = frozenset({*KNOWN, "handle", "prepare"})


class JobOptions(TypedDict, total=False):
    """What a class of jobs may say beside its name: `class Send(Job, queue="emails", tries=3)`."""

    #: The connection that stores it; default: the bus's.
    connection: str | None
    #: The queue it lies in; default: the connection's.
    queue: str | None
    #: Seconds, or a `timedelta`, before it may run.
    delay: Duration | None
    #: How often it is tried; 0 is no limit. Default: the worker's `--tries`; none with `retry_until`.
    tries: int | Rule | None
    #: Seconds before each further try: a number, one for each attempt, or `(attempt, error)`.
    backoff: Duration | Sequence[Duration] | Rule | None
    #: Seconds that one try may take; 0 is no limit. Default: the worker's `--timeout`.
    timeout: Duration | Rule | None
    #: Until when it is tried: seconds from its `enqueue`, or an aware `datetime`. Default: no end.
    retry_until: Duration | datetime | Rule | None
    #: How often it may raise; default: as often as it is tried.
    max_exceptions: int | None
    #: How often it may be given back without spending a try; default: no limit.
    max_releases: int | None
    #: Whether a try that takes too long is the last.
    fail_on_timeout: bool | None
    #: Errors after which it is not tried again.
    no_retry: type[BaseException] | Sequence[type[BaseException]]
    #: Whether it is done, and not failed, when `MissingRecord` is raised.
    discard_on_missing: bool | None
    #: What its runs go through, the first one outermost.
    middleware: Sequence[Middleware | Step[Attempt] | type[Middleware]] | Rule
    #: Whether one of its jobs is enough while it waits or runs: True, a function of the job that tells which are the
    #: same, or `Unique(...)`.
    unique: bool | Unique | Rule | None
    #: Seconds without another one until the newest runs, or `Debounce(...)`.
    debounce: Duration | Debounce | None
    #: Seconds, or a `timedelta`, for which its result and its progress are kept. Default: not at all.
    keep_result: Duration | None
    #: Whether it runs although its batch was canceled. Default: it is skipped.
    run_if_canceled: bool | None
    #: Its name in stored jobs; default: "module:QualName". Not inherited.
    name: str | None
    #: What logs and lists call it; default: its name. Not inherited.
    display_name: str | None
    #: Former names, under which stored jobs are still understood. Not inherited.
    aliases: Sequence[str]


@dataclass_transform(frozen_default=True, field_specifiers=(attrs.field,))
class Job:
    """
    Work for a worker, that no event asks for: a class with typed fields and a `handle`.

    A subclass is a frozen attrs class of the fields that it annotates. Its options are class
    keywords, those of `JobOptions`; a subclass of it inherits them, and may say otherwise.

    `handle` does the work: sync or async, its parameters supplied by their hints, `Attempt` among
    them. These methods are optional:

    - `prepare()`: asked when the job is enqueued; `False` and it is not.
    - `should_queue() -> bool`: the same, as listeners have it.
    - `via_queue() -> str`, `via_connection() -> str`, `with_delay() -> float`: win over the options.
    - `failed(error)`: called once the job has failed for good.
    - `interrupted(signum)`: called while it runs, when its worker is told to stop.

    `tries`, `timeout`, `retry_until` and `middleware` may be methods as well, and `backoff` one of the attempt's
    number and the error.

    Raises:
        UnknownOption: A class keyword that is no option; raised by the `class` statement.
        InvalidOption: An option has a value that cannot be; raised by the `class` statement.
        InvalidJob: A field cannot be as it is written; raised by the `class` statement.

    Example:
        >>> class ProcessPodcast(Job, queue="podcasts", tries=3):
        ...     podcast_id: int
        ...
        ...     def handle(self) -> str:
        ...         return f"processed {self.podcast_id}"
        >>> ProcessPodcast(17)
        ProcessPodcast(podcast_id=17)
    """

    __plan_member__: ClassVar[bool] = True
    #: What discovery says of it: it has a `handle`, and listens to nothing.
    __discover__: ClassVar[str] = "it is a job: it is enqueued, and hears no event"

    def __init_subclass__(cls, **options: Unpack[JobOptions]) -> None:
        super().__init_subclass__()
        said: dict[str, Any] = {**options}
        if "__attrs_attrs__" in vars(cls):
            raise InvalidJob(
                job=describe(cls),
                reason="a decorator has made its class anew",
                remedy="A Job is a frozen attrs class by itself: take the decorator away",
            )
        _check_fields(cls)
        for option in options:
            if option not in _KEYWORDS:
                raise UnknownOption(option=option, known=_KEYWORDS, where=describe(cls))
        for option in _OWN:
            if option not in vars(cls):
                setattr(cls, option, None)
        for option, value in said.items():
            # A function that is said here is no method, and gets no `self`.
            is_function = isinstance(value, types.FunctionType)
            setattr(cls, option, staticmethod(value) if is_function else value)
        _options(cls)
        try:
            attrs.frozen(slots=False, auto_attribs=True)(cls)
        except (ValueError, TypeError, RuntimeError) as error:
            raise InvalidJob(
                job=describe(cls),
                reason=f"attrs refuses its fields ({error})",
                remedy="Annotate each field; those without a default come first",
            ) from error


def _check_fields(cls: type) -> None:
    """Refuse a field that would hide an option, a hook or `handle`."""
    taken = _TAKEN | ({"attempt"} if issubclass(cls, InteractsWithQueue) else set())
    for field in inspect.get_annotations(cls):
        if field in taken:
            remedy = (
                f"Call it otherwise; the option is a class keyword: class {cls.__name__}(Job, {field}=...)"
                if field in _KEYWORDS
                else "Call it otherwise"
            )
            raise InvalidJob(
                job=describe(cls),
                reason=f"its field {field!r} has the name of something that every job may have",
                remedy=remedy,
            )


def _options(cls: type) -> dict[str, Any]:
    """Return what a class says, hooks and rules by the names under which its jobs have them."""
    where = describe(cls)
    found = checked(cls, {}, where=where)
    for option in HOOKS:
        if found[option] is not None:
            found[option] = option
    for option in RULED:
        if callable(found[option]):
            found[option] = Method(option)
    if found["name"] is not None:
        found["name"] = checks.name(found["name"], option="name", where=where)
    return found


def read_job(cls: type[Job]) -> QueueOptions:
    """
    Return how the jobs of a class are queued.

    Raises:
        InvalidJob: It cannot be named in a store.
    """
    found = _options(cls)
    found["name"] = stored_name(cls)
    return QueueOptions(**found)


def stored_name(cls: type[Job]) -> str:
    """
    Return what a class of jobs is called in a store.

    Raises:
        InvalidJob: It says no name, and no other process could find it by that of its class.
    """
    declared: str | None = vars(cls).get("name")
    if declared is not None:
        return declared
    found = describe(cls)
    for part, remedy in _UNNAMED:
        if part in found:
            raise InvalidJob(
                job=found, reason="a worker could not find it by this name", remedy=remedy
            )
    return found


_UNNAMED: Final = (
    ("<locals>", 'Move it to its module, or name it: class Send(Job, name="send")'),
    ("__main__:", "Move it to a module that the worker can import, or run this one with python -m"),
)


def names_of(cls: type[Job]) -> tuple[str, ...]:
    """Return the names under which a store may have jobs of a class; none if it has no name there."""
    try:
        return (stored_name(cls), *(vars(cls)["aliases"] or ()))
    except InvalidJob:
        return ()


def is_runnable(cls: type[Job]) -> bool:
    """Tell whether jobs of a class can be made and run: it is not there for others to fill in."""
    return callable(getattr(cls, "handle", None)) and not inspect.isabstract(cls)


def kinds_below(cls: type[Job]) -> Iterator[type[Job]]:
    """Yield the classes of jobs below a class, those that were made first before their children."""
    for child in type.__subclasses__(cls):
        yield child
        yield from kinds_below(child)


def job_target(cls: type[Job]) -> Target:
    """
    Return what runs the jobs of a class: its `handle`, called with the job as its `self`.

    Raises:
        InvalidJob: It has no `handle`, or one that cannot be called so.
    """
    name = describe(cls)
    if not is_runnable(cls):
        raise InvalidJob(
            job=name,
            reason="it is abstract" if inspect.isabstract(cls) else "it has no handle",
            remedy="Give it `def handle(self) -> None`, or bind it: bus.bind(Class, function)",
        )
    function = getattr(cls, "handle")  # noqa: B009 -- `Job` itself has none
    if isinstance(inspect.getattr_static(cls, "handle"), staticmethod | classmethod):
        raise InvalidJob(
            job=name,
            reason="its handle is not a method of the job",
            remedy="Write `def handle(self) -> None`",
        )
    identity = ("method", cls, "handle")
    target = Target(
        name=name, function=function, is_async=is_async(function), identity=identity, code=identity
    )
    for one in (target.parameters or ())[1:]:
        if one.required:
            _check_hinted(target, one.name, keyword=one.keyword)
    return target


def _check_hinted(target: Target, parameter: str, *, keyword: bool) -> None:
    try:
        hint = target.hint(parameter)
    except UnusableHint:
        return  # resolved when it is called: the name may exist by then
    if hint is NO_HINT or not keyword:
        raise InvalidJob(
            job=target.name,
            reason=f"nothing says what the parameter {parameter!r} of its handle is to be",
            remedy=f"Hint it with a class that the bus can build, or give it a default:"
            f" `{parameter}: Mailer`",
        )
