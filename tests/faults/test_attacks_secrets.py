"""A password in a connection's URL appears nowhere: not in errors, logs, lists, help or pickles."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
import traceback
from urllib.parse import quote

import pytest
import redis
import redis.asyncio
from attrs import frozen

from eventbus import EventBus, ShouldQueue
from eventbus.backends.redis import RedisBackend
from eventbus.backends.urls import open_backend, redacted
from eventbus.errors import AccessDenied

from .hostile import CONSOLE, WORKER, Hostile
from .poison import APPLICATION, Poison, body

SECRET = "canary-0f9a"  # not one that could be
#: A password in which every character has a meaning in a URL, too.
ODD = f"{SECRET}/x?y#z@:&%25;="

URLS = {
    "user and password": f"redis://user:{SECRET}@localhost/0",
    "password alone": f"redis://:{SECRET}@localhost/0",
    "user alone": f"redis://{SECRET}@localhost/0",
    "TLS": f"rediss://:{SECRET}@localhost:6380/0",
    "a local socket": f"unix://user:{SECRET}@/run/none/redis.sock",
    "Sentinels": f"redis+sentinel://user:{SECRET}@localhost:1,localhost:2/main",
    "Sentinels without a service": f"redis+sentinel://user:{SECRET}@localhost:1",
    "what Sentinels ask for": f"redis+sentinel://localhost:1/main?sentinel_password={SECRET}",
    "Sentinels over TLS": f"rediss+sentinel://:{SECRET}@localhost:1/main/3",
    "a cluster": f"redis+cluster://user:{SECRET}@localhost:1,localhost:2",
    "a cluster over TLS": f"rediss+cluster://:{SECRET}@localhost:1",
    "TLS, files that are not there": f"rediss://:{SECRET}@localhost:1?ssl_ca_certs=/none",
    "a database that is none": f"redis://user:{SECRET}@localhost/none/1",
    "an option": f"redis://localhost/0?password={SECRET}",
    "an option of another name": f"postgresql://localhost/db?sslpassword={SECRET}&sslmode=require",
    "two options of one name": f"sqlite:///x.db?password={SECRET}&password={SECRET}",
    "an unknown option of memory": f"memory://?password={SECRET}",
    "a fragment": f"sqlite:///x.db#{SECRET}",
    "a password that was not quoted": f"redis://user:{ODD}@localhost/0",
    "a password that was quoted": f"redis://user:{quote(ODD, safe='')}@localhost/0",
    "an unknown scheme": f"amqp://user:{SECRET}@localhost/vhost",
    "no scheme": f"user:{SECRET}@localhost",
    "no slashes": f"redis:user:{SECRET}@localhost",
    "one slash": f"redis:/user:{SECRET}@localhost",
    "a driver": f"postgresql+psycopg://user:{SECRET}@localhost/db",
    "several hosts": f"redis://:{SECRET}@one:1,:{SECRET}@two:2/0",
    "several URLs": f"redis://:{SECRET}@one/0,redis://:{SECRET}@two/0",
    "several URLs, a space between": f"redis://:{SECRET}@one/0 redis://:{SECRET}@two/0",
    "a bad port": f"redis://user:{SECRET}@localhost:port/0",
    "half an address": f"redis://user:{SECRET}@[::1/0",
    "a line break": f"redis://user:{SECRET}@local\nhost/0",
    "a user of memory": f"memory://user:{SECRET}@",
    "a host of sqlite": f"sqlite://user:{SECRET}@host/x.db",
    "sync with a password": f"sync://user:{SECRET}@",
    "SQS": f"sqs://AKIA:{SECRET}@eu-west-1/queue",
    "libpq": f"host=localhost password={SECRET}",
    "libpq, a colon": f"host=localhost password={SECRET}: port=1",
    "libpq, slashes": f"host=localhost password={SECRET}://x",
    "a secret alone": SECRET,
    "spaces around": f" redis://user:{SECRET}@localhost/0 ",
    "capitals": f"REDIS://user:{SECRET}@localhost/0",
}


def everything(error):
    """Return all that can be seen of an error and what led to it."""
    seen = []
    while error is not None:
        seen += [str(error), repr(error), repr(error.args), repr(vars(error))]
        seen.append(repr(pickle.dumps(error)))
        seen.append(repr(pickle.loads(pickle.dumps(error))))
        seen.append(repr(copy.copy(error)))
        error = error.__cause__ or error.__context__
    return "\n".join(seen)


def shown(error):
    """Return an error as a log shows it: with its traceback, without the lines of this file."""
    lines = traceback.format_exception(error)
    return "".join(one for one in lines if __file__ not in one)


@pytest.mark.parametrize("url", URLS.values(), ids=URLS)
def test_a_secret_is_in_no_error_of_a_url(url):
    """A12: the error of each form of URL, its causes, arguments, fields, pickle and copy."""
    try:
        backend = open_backend(url).backend
        said = repr(backend) + backend.name
    except Exception as error:
        said = everything(error) + shown(error)

    assert SECRET not in said + redacted(url)


@frozen
class Shipped:
    number: int


class Told(ShouldQueue):
    def handle(self, event: Shipped) -> None: ...


@pytest.mark.parametrize("url", URLS.values(), ids=URLS)
def test_a_secret_is_in_nothing_that_a_bus_says(url, caplog, capsys):
    """A12: making a bus, dispatching, its parts' `repr`, debug logs, warnings."""
    caplog.set_level(logging.DEBUG)
    seen = []
    try:
        bus = EventBus(connections={"default": url}, listen={Shipped: [Told]})
        seen += [repr(bus), repr(bus.connections), repr(bus.failed), str(bus.connections)]
        bus.dispatch(Shipped(1))
        seen.append(repr(bus.connections.port()))
        bus.failed.all()
    except Exception as error:
        seen += [everything(error), shown(error)]
    out = capsys.readouterr()

    assert SECRET not in "\n".join([*seen, caplog.text, out.out, out.err])


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("form", ["redis://user:{}@{}", "redis+cluster://:{}@{}", "lent"])
def test_a_secret_that_is_refused_is_in_nothing_that_is_told(redis_server, form, waits, caplog):
    """A12: of a server that answers, in the errors of its driver, with what they hold."""
    caplog.set_level(logging.DEBUG)
    place = f"127.0.0.1:{redis_server.port}"
    if form == "lent":
        kinds = redis.Redis, redis.asyncio.Redis
        login = {"port": redis_server.port, "username": "nobody", "password": SECRET}
        sync, other = (kind(**login) for kind in kinds)
        backend = RedisBackend(sync, async_client=other)
    else:
        backend = open_backend(form.format(SECRET, place)).backend
    bus = EventBus(connections={"default": backend}, listen={Shipped: [Told]})
    parts = [repr(backend), repr(bus.connections), repr(backend._link), repr(vars(backend._link))]

    with pytest.raises(AccessDenied) as caught:
        asyncio.run(bus.adispatch(Shipped(1))) if waits else bus.dispatch(Shipped(1))

    seen = [*parts, everything(caught.value), shown(caught.value), caplog.text]
    assert SECRET not in "\n".join(seen)


@pytest.mark.parametrize(
    "url",
    [URLS[one] for one in ("user and password", "a bad port")],
)
def test_a_secret_is_in_nothing_that_a_command_prints(tmp_path, url):
    """A12: worker and console with the URL in EVENTBUS_URL, `--help` and errors of use included."""
    hostile = Hostile(tmp_path, APPLICATION.replace('connections={"default": URL},', ""))
    for program, arguments in (
        (WORKER, ["--stop-when-empty", "-v"]),
        (WORKER, ["--help"]),
        (WORKER, ["--nonsense"]),
        (CONSOLE, ["failed"]),
        (CONSOLE, ["--help"]),
        (CONSOLE, ["doctor"]),
        (CONSOLE, ["peek"]),
    ):
        done = hostile.python("-c", program, *arguments, EVENTBUS_URL=url)

        assert SECRET not in done.stdout + done.stderr, arguments


def test_a_secret_of_the_environment_is_in_no_failed_job(tmp_path):
    """A12: a failed job's error has the lines of code, never the values of variables."""
    source = """
class Leak(ShouldQueue):
    name = "leak"
    def handle(self, event: Done) -> None:
        password = os.environ["TRAP_PASSWORD"]
        raise ValueError("it went wrong")
bus.listen(Done, Leak)
bus.dispatch(Done(1)) if __name__ == "__main__" else None
"""
    hostile = Hostile(tmp_path, APPLICATION + source)
    hostile.python("shop.py")
    hostile.make_file()
    with hostile.file() as file:
        file.write(
            [("leak", Poison(name="leak", body=body(name="leak", event="good.done", version=1)))]
        )

        worker = hostile.work("-v", TRAP_PASSWORD=SECRET)

        assert "leak" in file.rows("failed")
        errors = "".join(row["error"] for row in file.rows("failed").values())
    shown = hostile.console("failed", "leak")
    assert SECRET not in worker.stdout + worker.stderr + errors + shown.stdout + shown.stderr
