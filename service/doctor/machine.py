"""What this machine has: compiled kernels, ports, keys, certificates, and who can read them."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509

from service.doctor.findings import Check, Diagnosis, Seen, SkipError, ago, day, ok, problem, warning
from service.process.kernel_cache import use_kernel_cache
from service.process.settings import Settings, is_loopback
from service.security import api_keys

EXPIRES_S = 14 * 86400.0


def _kernels(_seen: Seen) -> Diagnosis:
    env = dict(os.environ)
    use_kernel_cache(env)
    folder = Path(env["NUMBA_CACHE_DIR"])
    count = sum(1 for _ in folder.rglob("*.nbi")) if folder.is_dir() else 0
    above = next(path for path in (folder, *folder.parents) if path.exists())
    writable = os.access(above, os.W_OK | os.X_OK)
    if count:
        return ok(f"{count} compiled kernels in {folder}")
    if not writable:
        todo = "give a folder that can be written: LEVER_CACHE, or NUMBA_CACHE_DIR for an image with its kernels"
        return warning(f"{above} cannot be written: every start compiles all kernels", todo)
    return warning(f"{folder} has no compiled kernels yet", "the first start compiles them; `make setup` does it ahead")


def _listeners(settings: Settings) -> Iterator[tuple[str, str, int]]:
    yield "gRPC", settings.grpc_host, settings.grpc_port
    yield "HTTP", settings.http_host, settings.http_port
    if settings.web_port is not None:
        yield "web", settings.web_host, settings.web_port


def _ports(seen: Seen) -> Diagnosis:
    if not isinstance(seen.health, str) or not isinstance(seen.metrics, str):
        return ok("in use, by Lever")
    taken = []
    for name, host, port in _listeners(seen.settings):
        try:
            with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
                pass
        except OSError as error:
            taken.append(f"{name} {host}:{port}: {error.strerror}")
    if taken:
        todo = "end what holds it (`ss -ltnp` shows it), or choose others: LEVER_GRPC_PORT, LEVER_HTTP_PORT, LEVER_WEB_PORT"
        return problem("; ".join(taken), todo)
    return ok("free, for a server to take")


def _keys(seen: Seen) -> Diagnosis:
    settings = seen.settings
    open_to = [f"{name} {host}" for name, host, _ in _listeners(settings) if not is_loopback(host)]
    if settings.keys_file is None:
        if open_to:
            todo = "make keys with `lever key new` and give --keys-file (docs/security.md)"
            return problem(
                f"{', '.join(open_to)}: whoever can reach it may do everything, as no API keys are asked for", todo
            )
        return ok("none are asked for, and only this machine can connect")
    path, names = settings.keys_file, len(api_keys.read(settings.keys_file))
    mode = path.stat().st_mode
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        return problem(
            f"{path} can be written by others than its owner, who could let themselves in", f"chmod 600 {path}"
        )
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        return warning(f"{path} can be read by others (it holds hashes, and names)", f"chmod 600 {path}")
    return ok(f"{names} keys, as hashes")


def _secrets(seen: Seen) -> Diagnosis:
    folder = seen.settings.data_dir
    kept = [*sorted(folder.glob("*.key")), *sorted(folder.glob("snapshot-*.bin"))] if folder.is_dir() else []
    if seen.settings.tls_key is not None:
        kept.append(seen.settings.tls_key)
    if not kept:
        raise SkipError(f"none are kept in {folder}")
    loose = [str(path) for path in kept if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]
    if loose:
        said = f"others than the owner can reach {', '.join(loose)}"
        return problem(f"{said}: with the token key decisions can be forged", f"chmod 600 {' '.join(loose)}")
    return ok(f"{len(kept)} files, for their owner only")


def _tls(seen: Seen) -> Diagnosis:
    settings = seen.settings
    if settings.tls_cert is None:
        bare = [f"{name} {host}" for name, host, _ in _listeners(settings) if not is_loopback(host)]
        if bare:
            return warning(f"{', '.join(bare)}: nothing is encrypted", "give tls_cert and tls_key, or put TLS in front")
        raise SkipError("no certificate is given")
    try:
        chain = x509.load_pem_x509_certificates(settings.tls_cert.read_bytes())
    except (OSError, ValueError):
        return problem(f"{settings.tls_cert} cannot be read as PEM certificates", "put the certificate there")
    begins = max(one.not_valid_before_utc.timestamp() for one in chain)
    ends = min(one.not_valid_after_utc.timestamp() for one in chain)
    todo = f"replace {settings.tls_cert} and its key; it is taken over without a restart"
    if ends <= seen.now:
        return problem(f"the certificate expired on {day(ends)}", todo)
    if begins > seen.now:
        return problem(
            f"the certificate is not valid before {day(begins)}", f"{todo}; or is this machine's clock wrong?"
        )
    said = f"valid for {ago(ends - seen.now)}, until {day(ends)}"
    return warning(said, todo) if ends - seen.now < EXPIRES_S else ok(said)


CHECKS: tuple[Check, ...] = (
    ("kernel cache", _kernels),
    ("ports", _ports),
    ("API keys", _keys),
    ("secrets", _secrets),
    ("TLS", _tls),
)
