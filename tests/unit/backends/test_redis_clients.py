"""From a URL of Redis to what makes connections: every form of it, and what is refused."""

from __future__ import annotations

import sys
from urllib.parse import quote

import pytest
import redis

from eventbus.backends.redis import RedisBackend
from eventbus.backends.redis_clients import linked
from eventbus.backends.urls import open_backend
from eventbus.defaults import REDIS_TIMEOUT
from eventbus.errors import InvalidOption, MissingDependency, UnknownOption

#: A password in which every character has a meaning in a URL.
ODD = "p/w?x#y@:&%25;=é "


def maker(url, *, waits=False):
    """What makes the connections of a URL."""
    link = linked(url)
    if waits:
        assert link.twin is not None
        link = link.twin()
    return link._any_maker()


def chosen(url, *names):
    settings = maker(url).settings
    return tuple(settings[name] for name in names)


# One server.


@pytest.mark.parametrize(
    "url, host, port, database",
    [
        ("redis://", "localhost", 6379, 0),
        ("redis://queue.internal", "queue.internal", 6379, 0),
        ("redis://queue.internal/", "queue.internal", 6379, 0),
        ("redis://queue.internal:7000", "queue.internal", 7000, 0),
        ("redis://queue.internal:7000/3", "queue.internal", 7000, 3),
        ("redis://10.0.0.1/15", "10.0.0.1", 6379, 15),
        ("redis://[::1]", "::1", 6379, 0),
        ("redis://[fe80::1]:7000/1", "fe80::1", 7000, 1),
        ("redis://shop_queue-1.internal.", "shop_queue-1.internal.", 6379, 0),
        ("rediss://queue.internal:7001/2", "queue.internal", 7001, 2),
    ],
)
def test_a_url_names_host_port_and_database(url, host, port, database):
    assert chosen(url, "host", "port", "db") == (host, port, database)


@pytest.mark.parametrize(
    "login, username, password",
    [
        ("", None, None),
        ("shop:secret@", "shop", "secret"),
        (":secret@", None, "secret"),
        ("shop@", "shop", None),
        ("shop:@", "shop", ""),
        (f"{quote('a@b', safe='')}:{quote(ODD, safe='')}@", "a@b", ODD),
        ("shop:a:b@", "shop", "a:b"),
        ("shop:a@b@", "shop", "a@b"),
    ],
)
@pytest.mark.parametrize(
    "url",
    [
        "redis://{}queue.internal/0",
        "redis://{}[::1]:7000",
        "rediss://{}queue.internal",
        "unix://{}/run/redis.sock",
        "redis+sentinel://{}one,two:7000/main",
        "redis+cluster://{}one,two:7000",
    ],
)
def test_a_url_names_who_logs_in(url, login, username, password):
    assert chosen(url.format(login), "username", "password") == (username, password)


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize(
    "url, kind",
    [
        ("redis://one", "Connection"),
        ("rediss://one", "SSLConnection"),
        ("unix:///run/redis.sock", "UnixDomainSocketConnection"),
        ("redis+sentinel://one/main", "Connection"),
        ("rediss+sentinel://one/main", "SSLConnection"),
        ("redis+cluster://one", "Connection"),
        ("rediss+cluster://one", "SSLConnection"),
    ],
)
def test_a_scheme_is_a_kind_of_connection(url, kind, waits):
    made = maker(url, waits=waits)

    assert made.kind is getattr(redis.asyncio if waits else redis, kind)
    assert made.waits is waits


def test_a_local_socket_has_a_path_and_a_database():
    assert chosen("unix:///run/redis/a%20b.sock?db=3", "path", "db") == ("/run/redis/a b.sock", 3)
    assert chosen("unix:///run/redis.sock", "path", "db") == ("/run/redis.sock", 0)


@pytest.mark.parametrize(
    "url", ["redis://one", "unix:///one.sock", "rediss+cluster://one", "redis+sentinel://one/main"]
)
def test_each_wait_has_an_end(url):
    assert chosen(url, "socket_timeout", "socket_connect_timeout") == (REDIS_TIMEOUT,) * 2
    shorter = chosen(f"{url}?timeout=0.5", "socket_timeout", "socket_connect_timeout")
    assert shorter == (0.5, 0.5)


# TLS.


@pytest.mark.parametrize("scheme", ["rediss", "rediss+sentinel", "rediss+cluster"])
def test_over_tls_the_server_is_checked_and_files_may_be_named(scheme):
    path = "/main" if "sentinel" in scheme else ""
    files = "ssl_ca_certs=/etc/ca.pem&ssl_certfile=/etc/shop.pem&ssl_keyfile=/etc/shop.key"

    plain = maker(f"{scheme}://one{path}").settings
    named = maker(f"{scheme}://one{path}?{files}").settings

    for settings in (plain, named):
        assert (settings["ssl_cert_reqs"], settings["ssl_check_hostname"]) == ("required", True)
    assert not {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"} & set(plain)
    assert named["ssl_ca_certs"] == "/etc/ca.pem"
    assert named["ssl_certfile"] == "/etc/shop.pem"
    assert named["ssl_keyfile"] == "/etc/shop.key"


@pytest.mark.parametrize(
    "url", ["redis://one?ssl_cert_reqs=none", "rediss://one?ssl_check_hostname=no"]
)
def test_no_url_turns_the_check_off(url):
    with pytest.raises(UnknownOption):
        open_backend(url)


# Sentinels.


def test_sentinels_have_places_and_a_login_of_their_own():
    made = maker(
        "redis+sentinel://shop:secret@one,two:7000,[::1]/main/2"
        "?sentinel_username=watcher&sentinel_password=p%40w&timeout=2"
    )

    assert (made.service, made.settings["db"]) == ("main", 2)
    assert (made.settings["username"], made.settings["password"]) == ("shop", "secret")
    places = [(one.settings["host"], one.settings["port"]) for one in made.sentinels]
    assert places == [("one", 26379), ("two", 7000), ("::1", 26379)]
    for sentinel in made.sentinels:
        assert sentinel.settings["username"] == "watcher"
        assert sentinel.settings["password"] == "p@w"
        assert sentinel.settings["socket_timeout"] == 2
        assert "db" not in sentinel.settings


def test_the_login_of_the_servers_is_not_that_of_the_sentinels():
    for sentinel in maker("redis+sentinel://shop:secret@one/main").sentinels:
        assert (sentinel.settings["username"], sentinel.settings["password"]) == (None, None)


# A cluster.


def test_a_cluster_is_found_by_some_of_its_nodes():
    link = linked("redis+cluster://one,two:7000,[::1]:7001")

    assert link._seeds == (("one", 6379), ("two", 7000), ("::1", 7001))
    assert not link.spans
    assert "db" not in link._any_maker().settings


# What is refused.


@pytest.mark.parametrize(
    "url, expected",
    [
        ("redis://one/shop", "a database's number"),
        ("redis://one/1/2", "a database's number"),
        ("redis://one/-1", "a database's number"),
        ("redis://one/٣", "a database's number"),
        ("redis://one:0", "HOST or HOST:PORT"),
        ("redis://one:65536", "HOST or HOST:PORT"),
        ("redis://one:port", "HOST or HOST:PORT"),
        ("redis://one:", "HOST or HOST:PORT"),
        ("redis://::1", "HOST or HOST:PORT"),
        ("redis://one two", "HOST or HOST:PORT"),
        ("redis+cluster://one,", "HOST or HOST:PORT"),
        ("redis://one,two", "one server; several are redis+sentinel://"),
        ("redis+sentinel://one", "the name of the service"),
        ("redis+sentinel://one/", "the name of the service"),
        ("redis+sentinel://one/main/shop", "a database's number"),
        ("redis+sentinel://one/main/1/2", "a database's number"),
        ("redis+cluster://one/1", "a cluster without a database"),
        ("unix://host/run/redis.sock", "unix:///absolute/path"),
        ("unix://", "unix:///absolute/path"),
        ("unix:///", "unix:///absolute/path"),
        ("unix:///run/redis.sock?db=shop", "a database's number"),
        ("unix+cluster:///run/redis.sock", "one of memory://"),
        ("redis+tls://one", "one of memory://"),
        ("redis://one?timeout=soon", "a number of seconds"),
        ("redis://one?timeout=0", "more than 0 seconds"),
        ("redis://one?timeout=-1", "more than 0 seconds"),
        ("redis://one?timeout=nan", "more than 0 seconds"),
        ("redis://one?timeout=inf", "more than 0 seconds"),
        ("redis://one?prefix=", "letters, digits"),
        ("redis://one?prefix=a+b", "letters, digits"),
        ("redis://one?prefix={a}", "letters, digits"),
        ("redis://one?prefix=a&prefix=b", "each option once"),
        ("redis://one?queue=a+b", "letters, digits"),
    ],
)
def test_what_is_no_url_of_redis_is_refused_with_what_is(url, expected):
    with pytest.raises(InvalidOption) as caught:
        open_backend(url)

    assert expected in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://one?db=1",
        "redis://one?ssl_ca_certs=/etc/ca.pem",
        "redis://one?password=secret",
        "redis://one?sentinel_password=secret",
        "redis+cluster://one?db=1",
        "unix:///run/redis.sock?ssl_ca_certs=/etc/ca.pem",
        "redis://one?protocol=3",
    ],
)
def test_an_option_that_this_kind_does_not_take_is_refused(url):
    with pytest.raises(UnknownOption):
        open_backend(url)


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    for name in [one for one in sys.modules if one.partition(".")[0] == "redis"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)

    with pytest.raises(MissingDependency, match=r"eventbus\[redis\]"):
        open_backend("redis+cluster://one")


# What it is called.


@pytest.mark.parametrize(
    "url, name",
    [
        ("redis://one:7000/1?timeout=1", "redis://one:7000/1"),
        (f"redis://shop:{quote(ODD, safe='')}@one", "redis://***@one"),
        ("redis+sentinel://:secret@one,two/main", "redis+sentinel://***@one,two/main"),
        ("unix://:secret@/run/redis.sock", "unix://***@/run/redis.sock"),
    ],
)
def test_a_store_is_called_by_its_url_without_the_login(url, name):
    backend = open_backend(url).backend

    assert backend.name == name
    assert "secret" not in repr(backend._link._any_maker()) + repr(vars(backend._link))


@pytest.mark.parametrize(
    "client, name",
    [
        (redis.Redis(host="one", password="secret"), "redis://one:6379/0"),
        (redis.Redis(host="one", port=7000, db=2), "redis://one:7000/2"),
        (redis.Redis(unix_socket_path="/run/redis.sock"), "unix:///run/redis.sock"),
        (redis.Sentinel([("one", 26379)]).master_for("main"), "redis://"),
    ],
)
def test_a_lent_client_is_called_by_where_it_leads(client, name):
    assert RedisBackend(client).name == name
    assert RedisBackend(client, name="queue").name == "queue"
