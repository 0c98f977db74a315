"""What an operator tells a worker process from elsewhere: how many jobs of a type it is to run at once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import InvalidJob
from ..storage.keys import Keys
from .slots import check_concurrency

if TYPE_CHECKING:
    from ..queue import Queue

log = logging.getLogger("kue.orders")

#: Seconds between two looks for orders.
LOOK_S = 2.0
#: Seconds after which an order that nobody took is forgotten: its process is gone.
KEPT_S = 60


def set_slots(queue: Queue, worker: str, job_type: str, count: int) -> None:
    """Tell the process ``worker`` (its name in ``queue.workers()``) to run ``count`` jobs of a type at once.

    It does so within LOOK_S, until it ends; running jobs are left alone. Raises InvalidJob for a count out of range.
    """
    key = queue.keys.orders(worker)

    def call(client: Any) -> Any:
        pipe = client.pipeline(transaction=False)
        pipe.hset(key, job_type, check_concurrency(count))
        pipe.expire(key, KEPT_S)
        return pipe.execute()

    queue._ask(call)


class Orders:
    """The orders for this process, looked for by its upkeep; ``apply(type, count)`` carries one out."""

    def __init__(self, keys: Keys, worker: str, apply: Callable[[str, int], object]) -> None:
        self._key, self._apply = keys.orders(worker), apply

    def run(self, client: Any) -> float:
        """Upkeep's task: take the orders there are; return the seconds until the next look."""
        pipe = client.pipeline(transaction=True)  # an order given in between must not be thrown away
        pipe.hgetall(self._key)
        pipe.delete(self._key)
        told, _ = pipe.execute()
        if isinstance(told, list):  # what redis-py makes of a transaction's answers on a Cluster
            told = dict(zip(told[::2], told[1::2], strict=True))
        for job_type, count in told.items():
            try:
                self._apply(job_type, int(count))
                log.info("concurrency of %s is now %s, as told from elsewhere", job_type, count)
            except (KeyError, ValueError, InvalidJob) as exc:
                log.warning("an order for %s cannot be carried out: %r", job_type, exc)
        return LOOK_S
