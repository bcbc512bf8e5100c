"""Settings: one frozen record, from options and LEVER_* variables, checked as a whole before anything starts."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.errors import InvalidError, Violation
from service.security import api_keys
from service.security.secrets import LEAST, MOST

PREFIX = "LEVER_"
LEVELS = ("debug", "info", "warning", "error")
SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
_SIZE = re.compile(r"(\d+)\s*(b|kb|mb|gb)?", re.IGNORECASE)
# What follows the scheme in a store's URL: anything ambiguous is refused. A user alone might be a password.
_WORD = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})"
_HOST = r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._\-]*)(?::\d{1,5})?"
_HOSTS = rf"{_HOST}(?:,{_HOST})*"  # nodes of a cluster, or Sentinels
_STORE = re.compile(rf"(?:{_WORD}*:{_WORD}+@)?{_HOSTS}(?P<path>(?:/[^\s@#?\[]*)?)(?:\?(?:{_WORD}|[:/])*)?")
_DATABASE = re.compile(r"(?:/\d*)?")
_SERVICE = re.compile(r"/[\w.\-]+(?:/\d*)?")  # as Sentinels call it, and a database
_UNITS = {"": 1, "b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30}


def _option(default: Any, read: Callable[[str], Any], text: str, *, secret: bool = False, once: str = "") -> Any:
    """A setting: its default, how a text becomes its value (ValueError says why not), and a line for people.

    `once` is a name that it had before and that is still understood.
    """
    return dataclasses.field(default=default, repr=not secret, metadata={"read": read, "help": text, "once": once})


def _number(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"[+-]?\d+", text) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return read


def _bytes(text: str) -> int:
    found = _SIZE.fullmatch(text)
    if found is None or int(found[1]) == 0:
        raise ValueError("must be a size, such as 67108864 or 64MB")
    return int(found[1]) * _UNITS[(found[2] or "").lower()]


def _share(text: str) -> float:
    if not re.fullmatch(r"\d*\.?\d+", text) or not 0.0 <= float(text) <= 1.0:
        raise ValueError("must be a share from 0 to 1")
    return float(text)


def _flag(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError("must be true or false")


def _word(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text.lower()

    return read


def _keys(text: str) -> tuple[bytes, ...]:
    keys = []
    for index, part in enumerate(text.split(",") if text else ()):
        try:
            key = base64.b64decode(part.strip(), altchars=b"-_" if set("-_") & set(part) else None, validate=True)
        except (ValueError, binascii.Error):
            raise ValueError(f"key {index + 1} is not base64") from None
        if not LEAST <= len(key) <= MOST:
            raise ValueError(f"key {index + 1} has {len(key)} bytes; {LEAST} to {MOST} are needed")
        keys.append(key)
    return tuple(keys)


def _url(text: str) -> str:
    """The URL of a store, if it can be taken apart in one way only: what is left over might be a part of a password.

    No error quotes any of it.
    """
    if not text:
        return text
    scheme, begun, rest = text.partition("://")
    if not begun or scheme not in SCHEMES:
        raise ValueError(f"must begin with {', '.join(f'{s}://' for s in SCHEMES)}")
    found = _STORE.fullmatch(rest)
    path = _SERVICE if scheme.endswith("+sentinel") else _DATABASE
    if found is None or (scheme != "unix" and not path.fullmatch(found["path"])):
        raise ValueError(
            "is not of the form SCHEME://[[USER]:PASSWORD@]ADDRESS; percent-encode the password: "
            "%23 for #, %2F for /, %3F for ?, %5B for [, %40 for @, %25 for %"
        )
    return text


def _host(text: str) -> str:
    if not text or any(c.isspace() for c in text):
        raise ValueError("must be a host name or an address")
    return text.strip("[]")


@dataclass(frozen=True)
class Settings:
    """Every setting of `lever serve`. A field `x` is the option --x and the variable LEVER_X."""

    data_dir: Path = _option(Path(".lever"), Path, "where the embedded store and the keys live")  # noqa: RUF009  # a field
    redis_url: str = _option("", _url, "a Redis or Valkey to use; empty: the embedded one", secret=True)
    grpc_host: str = _option("127.0.0.1", _host, "address of the gRPC services")
    grpc_port: int = _option(50051, _number(0, 65535), "port of the gRPC services; 0: any free one")
    http_host: str = _option("127.0.0.1", _host, "address of the HTTP side port")
    http_port: int = _option(8080, _number(0, 65535), "port of /metrics, /livez and /readyz; 0: any free one")
    workers: int = _option(1, _number(1, 64), "serving processes on the one gRPC port")
    experiments: Path | None = _option(None, Path, "a file or folder of experiments to apply at the start")  # noqa: RUF009  # as above
    token_keys: tuple[bytes, ...] = _option((), _keys, "base64 keys of decision ids, the current first", secret=True)
    insecure: bool = _option(False, _flag, "allow plaintext on addresses that are not loopback")
    flush_ms: int = _option(100, _number(1, 10_000), "trials are sent to the store this often")
    poll_ms: int = _option(100, _number(1, 10_000), "the log is read this often")
    buffer_bytes: int = _option(64 << 20, _bytes, "trials kept for a store that is away, for each experiment")
    state_max: int = _option(256 << 20, _bytes, "the most memory an experiment's state may come to take")
    choice_threads: int = _option(0, _number(0, 64), "threads that answer Select; 0: one without a queue")
    reward_threads: int = _option(16, _number(1, 256), "threads that answer Reward and Expose")
    max_streams: int = _option(32, _number(1, 512), "open StreamRewards streams of a worker")
    max_waiting: int = _option(256, _number(1, 65536), "calls that wait for a thread before more are refused")
    max_calls: int = _option(
        100, _number(0, 65536), "calls of one connection at a time, more wait at the client; 0: any"
    )
    keys_file: Path | None = _option(None, Path, "API keys and what they allow; without it nobody needs one")  # noqa: RUF009  # as above
    tls_cert: Path | None = _option(None, Path, "PEM certificate, and its chain, of the gRPC port")  # noqa: RUF009  # as above
    tls_key: Path | None = _option(None, Path, "its key")  # noqa: RUF009  # as above
    tls_client_ca: Path | None = _option(None, Path, "PEM certificates whose clients may connect; empty: anyone")  # noqa: RUF009  # as above
    grace_s: int = _option(10, _number(0, 600), "seconds for running calls when the server stops")
    log_level: str = _option("info", _word(*LEVELS), "debug, info, warning or error")
    log_json: str = _option("auto", _word("auto", "true", "false"), "JSON logs; auto: unless on a terminal")
    web_host: str = _option("127.0.0.1", _host, "address of the web port", once="door_host")
    web_port: int | None = _option(
        None, _number(0, 65535), "port for websites, over HTTP; 0: any free one; empty: none", once="door_port"
    )
    watchdog_s: int = _option(
        30, _number(0, 3600), "a process that is silent for so many seconds is replaced; 0: never"
    )
    traces: float | None = _option(
        None, _share, "share of calls that are traced beside those whose caller traces them, 0 to 1; empty: no traces"
    )
    share_from: int = _option(
        0,
        _number(0, 1_000_000_000),
        "rows a second of an experiment from which one server adds up and the others load what it came to; 0: never",
    )
    store_replicas: int = _option(
        0, _number(0, 16), "replicas of the store that must have a write before it is acknowledged"
    )

    def __str__(self) -> str:
        """One line a setting, `LEVER_NAME=value`, with secrets hidden."""
        return "\n".join(f"{PREFIX}{name.upper()}={value}" for name, value in shown(self).items())

    __repr__ = __str__


def shown(settings: Settings) -> dict[str, str]:
    """The settings as a person may see them."""
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    values["redis_url"] = hidden(settings.redis_url)
    values["token_keys"] = f"({len(settings.token_keys)} hidden)" if settings.token_keys else ""
    return {name: _text(value) for name, value in values.items()}


def chosen(settings: Settings) -> dict[str, str]:
    """Those that are not as they are by default, as a person may see them."""
    usual = shown(Settings())
    return {name: value for name, value in shown(settings).items() if value != usual[name]}


def settings(overrides: Mapping[str, object], env: Mapping[str, str]) -> Settings:
    """Overrides before variables before defaults. InvalidError has every wrong setting at once, by its own name."""
    values: dict[str, Any] = {}
    wrong: list[Violation] = []
    known = {field.name: field for field in dataclasses.fields(Settings)}
    wrong += [Violation(name, "is no setting") for name in overrides if name not in known]
    for name, field in known.items():
        given, where = overrides.get(name), name
        for variable in (PREFIX + each.upper() for each in (name, field.metadata["once"]) if each):
            if given is None:
                given, where = env.get(variable), variable
        if given is None or (given == "" and name not in ("redis_url", "token_keys")):
            continue
        try:
            values[name] = field.metadata["read"](_text(given))
        except ValueError as error:
            wrong.append(Violation(where, str(error)))
    if not wrong:
        made = Settings(**values)
        wrong += _together(made)
    if wrong:
        raise InvalidError(wrong)
    return made


def packed(settings: Settings) -> dict[str, str]:
    """The settings as texts that `settings` reads back, secrets and all: for handing them to a child process."""
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    values["token_keys"] = ",".join(base64.b64encode(key).decode() for key in settings.token_keys)
    return {name: _text(value) for name, value in values.items()}


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine can connect there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def hidden(url: str) -> str:
    """The URL without user and password (what stands before a colon may be half of one); nothing of one that is none."""
    try:
        _url(url)
    except ValueError:
        return "***"
    scheme, begun, rest = url.partition("://")
    where, asked, _ = rest.partition("?")
    _, known, address = where.rpartition("@")
    return scheme + begun + ("***@" if known else "") + address + ("?***" if asked else "")


def _together(made: Settings) -> list[Violation]:
    wrong = [
        Violation(name, f"{host} is not loopback and nothing is encrypted; {way}, or set insecure")
        for name, host, way, encrypted in (
            ("grpc_host", made.grpc_host, "give tls_cert and tls_key, put TLS in front", made.tls_cert is not None),
            ("http_host", made.http_host, "put TLS in front", False),
            ("web_host", made.web_host, "put TLS in front", made.web_port is None),
        )
        if not made.insecure and not encrypted and not is_loopback(host)
    ]
    wrong += _secured(made)
    if made.grpc_port and made.grpc_port == made.http_port:
        wrong.append(Violation("http_port", "is the gRPC port too"))
    if made.web_port and made.web_port in (made.grpc_port, made.http_port):
        wrong.append(Violation("web_port", "is another port of Lever too; /metrics must not be reachable from the web"))
    if made.experiments is not None and not made.experiments.exists():
        wrong.append(Violation("experiments", f"{made.experiments} does not exist"))
    return wrong


def _secured(made: Settings) -> list[Violation]:
    """What is wrong with keys and certificates. That a key is its certificate's is seen when they are loaded."""
    files = {name: getattr(made, name) for name in ("tls_cert", "tls_key", "tls_client_ca")}
    wrong = [
        Violation(name, f"{path} does not exist")
        for name, path in files.items()
        if path is not None and not path.exists()
    ]
    if (made.tls_cert is None) != (made.tls_key is None):
        wrong.append(Violation("tls_cert" if made.tls_cert is None else "tls_key", "is needed too"))
    if made.tls_client_ca is not None and made.tls_cert is None:
        wrong.append(Violation("tls_client_ca", "needs tls_cert and tls_key"))
    if made.keys_file is not None:
        try:
            api_keys.read(made.keys_file)
        except InvalidError as error:
            wrong += error.violations
    return wrong


def _text(value: object) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
