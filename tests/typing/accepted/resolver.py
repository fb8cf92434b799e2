from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import dishka
import svcs

from eventbus import EventBus
from eventbus.dispatch.accepts import Get
from shop import Mailer, OrderLost, OrderShipped


class Clock: ...


def make_mailer() -> Mailer:
    return Mailer()


def clock_of(mailer: Mailer) -> Clock:
    return Clock()


def on_shipped(event: OrderShipped) -> None: ...
def on_lost(event: OrderLost) -> None: ...


class SvcsScope:
    def __init__(self, registry: svcs.Registry) -> None:
        self.registry = registry

    @contextmanager
    def scope(self) -> Generator[Get]:
        with svcs.Container(self.registry) as container:
            yield container.get


class DishkaScope:
    def __init__(self, container: dishka.Container) -> None:
        self.container = container

    @contextmanager
    def scope(self) -> Generator[Get]:
        with self.container() as request:
            yield request.get


def build(
    container: svcs.Container,
    registry: svcs.Registry,
    app: dishka.Container,
    async_app: dishka.AsyncContainer,
) -> None:
    EventBus(resolver=container.get)
    EventBus(resolver=container.aget)
    EventBus(resolver=app.get)
    EventBus(resolver=async_app.get)
    EventBus(resolver=SvcsScope(registry))
    EventBus(resolver=DishkaScope(app))


EventBus(resolver=lambda wanted: wanted())
factories = {Mailer: make_mailer}
EventBus(provide=factories)
EventBus(provide={Mailer: make_mailer, Clock: clock_of})
EventBus(
    listen={OrderShipped: [on_shipped, "shop:heard"], OrderLost: [on_lost], "order.*": [print]}
)
EventBus(listen={OrderShipped: on_shipped, "order.imported": "shop:heard"})
