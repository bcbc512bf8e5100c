"""What a running server says: gRPC health and /metrics, and what `lever doctor` makes of it."""

from __future__ import annotations

import urllib.error
import urllib.request
from email.utils import parsedate_to_datetime

from prometheus_client.parser import text_string_to_metric_families

from service import __version__
from service.doctor.findings import Check, Diagnosis, Labels, Metrics, Seen, SkipError, ago, ok, problem, warning

TIMEOUT_S = 5.0
# Snapshots are renewed and trials flushed ten times a second; these are far beyond what a busy machine takes.
STALE_S, STUCK_S = 10.0, 60.0
CHECKPOINT_S = 900.0  # the age grows only while one is due; LeverCheckpointOld waits as long
SKEW_S = 2.0  # the server's clock is told to the second


def page(url: str, key: str = "") -> tuple[str, float | None]:
    """A page and the server's clock. OSError with a sentence where there is none."""
    request = urllib.request.Request(url, headers={"authorization": f"Bearer {key}"} if key else {})  # noqa: S310  # http only
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=TIMEOUT_S) as answer:
        date = answer.headers.get("date")
        return answer.read().decode(), parsedate_to_datetime(date).timestamp() if date else None


def pages(http: str, key: str = "") -> tuple[Metrics | str, float | None, str]:
    """The metrics, or why there are none; the server's clock; and what /readyz says."""
    clock, readyz = None, ""
    try:
        readyz, clock = page(f"{http}/readyz")
    except urllib.error.HTTPError as refused:
        with refused:
            readyz = refused.read().decode(errors="replace")
    except (OSError, ValueError):
        pass  # the metrics say it
    try:
        text, clock = page(f"{http}/metrics", key)
        return _samples(text), clock, readyz
    except urllib.error.HTTPError as refused:
        with refused:
            return f"HTTP {refused.code}", clock, readyz
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error)), clock, readyz


def _samples(text: str) -> Metrics:
    found: dict[str, dict[Labels, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


def _grpc(seen: Seen) -> Diagnosis:
    if isinstance(seen.health, str) and seen.starting:
        return problem(f"Lever runs but does not listen at {seen.server} yet: {seen.starting}", "wait, and ask again")
    if isinstance(seen.health, str):
        todo = "start it with `lever serve`, or name it with --server (LEVER_SERVER); where it speaks TLS give --tls or --ca"
        return problem(f"no Lever server answers at {seen.server}: {seen.health}", todo)
    if not seen.health.get(""):
        why = ", ".join(line for line in seen.readyz.splitlines()[1:] if line) or "it does not say why"
        return problem(f"{seen.server} answers but is not ready: {why}", "see the checks of the store, and the log")
    return ok(f"{seen.server} is serving")


def _http(seen: Seen) -> Diagnosis:
    if not isinstance(seen.metrics, str):
        if "lever_build_info" in seen.metrics:
            return ok(f"{seen.http}/metrics is read")
        return problem(f"what answers at {seen.http}/metrics is not Lever", "name the side port with --http")
    if seen.metrics in ("HTTP 401", "HTTP 403"):
        return warning(f"{seen.http}/metrics asks for a key", "give one with the scope `read`: LEVER_KEY, or --key")
    todo = "name the side port with --http; Prometheus needs it too (LEVER_HTTP_HOST, LEVER_HTTP_PORT)"
    return problem(f"{seen.http}/metrics cannot be read: {seen.metrics}", todo)


def _workers(seen: Seen) -> Diagnosis:
    workers = seen.series("lever_worker_ready", "worker")
    down = sorted(name for name, ready in workers.items() if not ready)
    if not workers or down:
        which = f"worker {', '.join(down)} is not ready" if down else "no worker has reported"
        return problem(which, seen.starting or f"{seen.http}/readyz and the log say why")
    return ok(f"{len(workers)} ready")


def _version(seen: Seen) -> Diagnosis:
    versions = sorted(name for name in seen.series("lever_build_info", "version") if name)
    if versions != [__version__]:
        todo = "finish the upgrade, or use the command that belongs to the server"
        return warning(f"the server is {' and '.join(versions) or 'unknown'}, this command {__version__}", todo)
    return ok(__version__)


def _reaches_store(seen: Seen) -> Diagnosis:
    if seen.starting:
        raise SkipError(f"not asked for yet: {seen.starting}")
    up = seen.measured.get("lever_store_up", {})
    if not up or not min(up.values()):
        todo = "rewards are refused until it answers again, choices go on; start the store, or repair the network to it"
        return problem("the server does not reach its store", todo)
    return ok("every worker does")


def _ages(seen: Seen, name: str, what: str, todo: str) -> Diagnosis:
    ages = seen.series(name)
    if not ages:
        raise SkipError("the server has reported none yet")
    worst = max(ages, key=ages.__getitem__)
    said = f"{what} {ago(ages[worst])} old" + (f" ({worst})" if worst else "")
    if ages[worst] > STUCK_S:
        return problem(said, todo)
    return warning(said, todo) if ages[worst] > STALE_S else ok(said)


def _snapshot(seen: Seen) -> Diagnosis:
    return _ages(
        seen, "lever_snapshot_age_seconds", "the oldest snapshot is", "choices come from old knowledge; see store"
    )


def _flush(seen: Seen) -> Diagnosis:
    return _ages(
        seen, "lever_flush_age_seconds", "the last flush is", "trials wait in memory, and are lost with the server"
    )


def _checkpoint(seen: Seen) -> Diagnosis:
    ages = seen.series("lever_checkpoint_age_seconds")
    old = {name: age for name, age in ages.items() if age > CHECKPOINT_S}
    if old:
        worst = max(old, key=old.__getitem__)
        todo = "a start takes longer and the log cannot be trimmed; the log has the line `a checkpoint was not taken`"
        return warning(f"one of {worst} has been due for {ago(old[worst])}", todo)
    if not ages:
        raise SkipError("the server has reported none yet")
    return ok("none is overdue")


def _raised(seen: Seen, name: str, said: str, todo: str) -> Diagnosis:
    raised = sorted(key for key, value in seen.series(name).items() if value)
    if raised:
        return problem(f"{said}: {', '.join(raised)}", todo)
    return ok("none")


def _divergence(seen: Seen) -> Diagnosis:
    todo = "`lever verify --experiment EXPERIMENT --repair` (docs/guarantees.md, Checkpoints)"
    return _raised(seen, "lever_divergence", "two servers came to different states from one log", todo)


def _lost(seen: Seen) -> Diagnosis:
    todo = "`lever restore EXPERIMENT` or `lever accept-loss EXPERIMENT` (docs/guarantees.md); first see that it is the right store"
    return _raised(seen, "lever_lost", "the store has lost what is served", todo)


def _unreadable(seen: Seen) -> Diagnosis:
    todo = "`lever verify` says what is damaged; `lever import` brings an export back"
    return _raised(seen, "lever_unreadable", "data in the store is damaged", todo)


def _dropped(seen: Seen) -> Diagnosis:
    count = sum(seen.measured.get("lever_trials_dropped_total", {}).values())
    if count:
        todo = "the cause is a label of lever_trials_dropped_total: late, lost, or full (raise LEVER_BUFFER_BYTES)"
        return warning(f"{count:,.0f} trials were dropped since the server started", todo)
    return ok("none")


def _clock(seen: Seen) -> Diagnosis:
    if seen.server_clock is None:
        raise SkipError("the server did not report its time")
    ahead = seen.server_clock - seen.now
    if abs(ahead) > SKEW_S:
        todo = "run NTP on both; decisions have the store's time, but logs and certificates have the machine's"
        return warning(
            f"the server's clock is {ago(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} this one", todo
        )
    return ok("the server's and this one agree, to the second")


CHECKS: tuple[Check, ...] = (
    ("gRPC", _grpc),
    ("metrics", _http),
    ("workers", _workers),
    ("version", _version),
    ("server clock", _clock),
    ("way to the store", _reaches_store),
    ("snapshots", _snapshot),
    ("flush", _flush),
    ("checkpoints", _checkpoint),
    ("divergence", _divergence),
    ("lost", _lost),
    ("unreadable", _unreadable),
    ("trials dropped", _dropped),
)
