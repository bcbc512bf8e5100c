"""A primary with a replica, and three Sentinels that see to it that one of the two is the primary."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from loadtest.engines.engine import START_S, Engine, wait
from loadtest.rig.server import free_ports

SERVICE = "shop"
_DATA = ("--save", "", "--appendonly", "yes", "--repl-diskless-sync-delay", "0")


@dataclass
class Watched:
    """The engines and their Sentinels."""

    engines: list[Engine]
    sentinels: list[Engine]

    @property
    def url(self) -> str:
        """By its Sentinels."""
        return f"redis+sentinel://{','.join(f'127.0.0.1:{one.port}' for one in self.sentinels)}/{SERVICE}"

    def primary(self) -> Engine:
        """As the Sentinels say."""
        port = int(self.sentinels[0].ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1])
        return next(engine for engine in self.engines if engine.port == port)


@contextlib.contextmanager
def watched(binary: Path, folder: Path, down_ms: int = 500, tls: Path | None = None) -> Iterator[Watched]:
    """All of it, in step, for as long as the block; `tls` as of an Engine."""
    ports = free_ports(5)
    engines = [Engine(binary, folder / str(i), port, _DATA, tls) for i, port in enumerate(ports[:2])]
    sentinels = []
    for i, port in enumerate(ports[2:]):
        file = folder / f"sentinel-{i}" / "sentinel.conf"
        file.parent.mkdir(parents=True)
        file.write_text(
            f"sentinel monitor {SERVICE} 127.0.0.1 {ports[0]} 2\n"
            f"sentinel down-after-milliseconds {SERVICE} {down_ms}\nsentinel failover-timeout {SERVICE} 5000\n"
        )
        sentinels.append(Engine(binary, file.parent, port, (str(file), "--sentinel"), tls))
    made = Watched(engines, sentinels)
    try:
        for engine in engines:
            engine.start()
        engines[1].ask("REPLICAOF", "127.0.0.1", ports[0])
        wait(engines[1].in_step, START_S)
        for sentinel in sentinels:
            sentinel.start()
        wait(lambda: all(_sees(one) for one in sentinels), START_S)
        yield made
    finally:
        for one in (*sentinels, *engines):
            one.kill()


def _sees(sentinel: Engine) -> bool:
    """Whether it knows the replica and the other two."""
    told = sentinel.ask("SENTINEL", "MASTER", SERVICE)
    known = dict(zip(told[::2], told[1::2], strict=True))
    return int(known[b"num-slaves"]) == 1 and int(known[b"num-other-sentinels"]) == 2
