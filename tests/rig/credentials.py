"""API keys, users of the store, and certificates of tests."""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from service.security.api_keys import Key
from service.security.certificates import Files
from tests.rig.programs import ROOT


def write_keys(path: Path, *keys: Key) -> Path:
    """The file of keys; its path."""
    path.write_text("keys:\n" + "\n".join(key.line() for key in keys))
    return path


def narrow_user() -> list[str]:
    """What deploy/README.md gives the narrowest user of the store, its keys excepted."""
    guide = (ROOT / "deploy" / "README.md").read_text()
    (line,) = re.findall(r"^ACL SETUSER lever on >PASSWORD ~lever:\* (resetchannels -@all .*)$", guide, re.MULTILINE)
    return str(line).split()


def bearer(key: str) -> tuple[tuple[str, str], ...]:
    """The metadata that carries a key."""
    return (("authorization", f"Bearer {key}"),)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, both PEM."""

    cert: bytes
    key: bytes


def certificate(name: str) -> Pair:
    """A certificate for 127.0.0.1 that is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    cert = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Pair(cert.public_bytes(serialization.Encoding.PEM), private)


def write_certificate(folder: Path, pair: Pair, client_ca: Pair | None = None) -> Files:
    """As files that a server is given."""
    files = Files(folder / "cert.pem", folder / "key.pem", folder / "ca.pem" if client_ca else None)
    files.cert.write_bytes(pair.cert)
    files.key.write_bytes(pair.key)
    if client_ca and files.client_ca:
        files.client_ca.write_bytes(client_ca.cert)
    return files
