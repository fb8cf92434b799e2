from __future__ import annotations

from eventbus import EventBus
from shop import Mailer, OrderShipped


def make_number() -> int:
    return 1


def by_name(name: str) -> object:
    return name


class NotScoped:
    def scope(self) -> int:
        return 1


EventBus(resolver=by_name)  # error: mypy pyright
EventBus(resolver=make_number)  # error: mypy pyright
EventBus(resolver=NotScoped())  # error: mypy pyright
EventBus(provide={Mailer: 42})  # error: mypy pyright
EventBus(provide={"mailer": make_number})  # error: mypy pyright
EventBus(listen={OrderShipped: [42]})  # error: mypy pyright
