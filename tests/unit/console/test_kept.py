"""Answers that are kept for a moment."""

from __future__ import annotations

import asyncio

import pytest

from service.console.kept import Kept
from service.console.worker import AT_ONCE, WAITING, Worker
from service.errors import ExhaustedError


def test_who_asks_meanwhile_waits_for_the_same_answer() -> None:
    made = []

    async def make() -> bytes:
        made.append(1)
        await asyncio.sleep(0)
        return b"answer"

    async def run() -> list[bytes]:
        kept = Kept(60)
        together = await asyncio.gather(*(kept.get(("a",), make) for _ in range(20)))
        return [*together, await kept.get(("a",), make)]

    assert asyncio.run(run()) == [b"answer"] * 21
    assert len(made) == 1


def test_one_who_goes_away_ends_nobody_elses_answer() -> None:
    async def run() -> bytes:
        kept, go = Kept(60), asyncio.Event()

        async def make() -> bytes:
            await go.wait()
            return b"answer"

        first = asyncio.ensure_future(kept.get(("a",), make))
        second = asyncio.ensure_future(kept.get(("a",), make))
        await asyncio.sleep(0)
        first.cancel()
        go.set()
        return await second

    assert asyncio.run(run()) == b"answer"


def test_an_old_answer_and_a_failure_are_made_anew() -> None:
    async def run(fresh_s: float, fail: bool) -> int:
        kept, made = Kept(fresh_s), 0

        async def make() -> bytes:
            nonlocal made
            made += 1
            if fail:
                raise ValueError
            return b"answer"

        for _ in range(3):
            try:
                await kept.get(("a",), make)
            except ValueError:
                await asyncio.sleep(0)
        return made

    assert asyncio.run(run(0.0, fail=False)) == 3
    assert asyncio.run(run(60.0, fail=True)) == 3


def test_what_is_kept_is_bounded() -> None:
    async def run() -> int:
        kept = Kept(60, most=100)

        async def make() -> bytes:
            return b"x" * 40

        for number in range(20):
            await kept.get((str(number),), make)
        return sum(one.bytes() for one in kept._entries.values())

    assert asyncio.run(run()) <= 140  # the newest is kept whatever it weighs


def test_one_call_too_many_is_refused_while_the_others_wait() -> None:
    async def run() -> None:
        worker = Worker("")
        holding = [worker._turn() for _ in range(AT_ONCE)]
        for turn in holding:
            await turn.__aenter__()
        waiting = [asyncio.ensure_future(worker._turn().__aenter__()) for _ in range(WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(ExhaustedError):
            await worker._turn().__aenter__()
        for task in waiting:
            task.cancel()

    asyncio.run(run())
