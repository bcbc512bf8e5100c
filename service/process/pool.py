"""Threads that calls run on, of either protocol."""

from __future__ import annotations

from concurrent import futures

from service.process.priority import give_way


class Pool(futures.ThreadPoolExecutor):
    """Threads for one kind of call, and how many calls may wait for one of them."""

    def __init__(self, name: str, threads: int, waiting: int, *, patient: bool = False) -> None:
        """`patient` threads give way to others' choices."""
        super().__init__(max_workers=threads, thread_name_prefix=name, initializer=give_way if patient else None)
        self.name = name
        self.waiting = waiting
        self.queued = self._work_queue.qsize

    @property
    def full(self) -> bool:
        """Too many calls wait already."""
        return self.queued() > self.waiting
