"""TLS of the gRPC port: certificate and key from files, read again when they change, with no connection lost."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from service.errors import InvalidError

_Signature = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Files:
    """PEM files: the certificate with its chain, its key, and whose clients' certificates are asked for (mTLS)."""

    cert: Path
    key: Path
    client_ca: Path | None = None

    def signature(self) -> _Signature:
        """Changes whenever one of the files does. OSError while one is missing."""
        found = [path.stat() for path in (self.cert, self.key, self.client_ca) if path is not None]
        return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in found)

    def read(self) -> grpc.ServerCertificateConfiguration:
        """What the files hold. InvalidError unless all can be read and the key is the certificate's."""
        cert, key = _pem("tls_cert", self.cert), _pem("tls_key", self.key)
        try:
            public = x509.load_pem_x509_certificates(cert)[0].public_key()
        except ValueError:
            raise InvalidError.field("tls_cert", f"{self.cert} is not a PEM certificate") from None
        try:
            private = serialization.load_pem_private_key(key, None)
        except (ValueError, TypeError):
            raise InvalidError.field("tls_key", f"{self.key} is not a PEM key without a password") from None
        if _raw(private.public_key()) != _raw(public):
            raise InvalidError.field("tls_key", f"{self.key} is not the key of {self.cert}")
        authorities = None
        if self.client_ca is not None:
            authorities = _pem("tls_client_ca", self.client_ca)
            try:
                x509.load_pem_x509_certificates(authorities)
            except ValueError:
                raise InvalidError.field("tls_client_ca", f"{self.client_ca} is not a PEM certificate") from None
        return grpc.ssl_server_certificate_configuration([(key, cert)], authorities)


def credentials(files: Files) -> grpc.ServerCredentials:
    """Credentials that follow the files; with a `client_ca` nobody connects without a certificate of it.

    InvalidError where the files are wrong now. Where they become wrong later (one of the two replaced, the other
    not yet), the last good ones stay in force.
    """
    reload = _Reload(files)
    fetch: Any = reload.fetch  # its stub does not know that None means no change
    return grpc.dynamic_ssl_server_credentials(reload.config, fetch, files.client_ca is not None)


class _Reload:
    """Asked by grpc at every new connection, on a thread of its own."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._seen: _Signature = ()
        self.config = files.read()
        self._log = structlog.get_logger("lever.tls")

    def fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """The new configuration if the files changed, None to keep the one in force. Raises nothing."""
        try:
            seen = self._files.signature()
            if seen == self._seen:
                return None
            self._seen = seen
            config = self._files.read()
        except (OSError, InvalidError) as error:
            self._log.error("the certificate was not reloaded; the old one stays", error=str(error))
            return None
        self._log.info("certificate reloaded")
        return config


def _pem(field: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidError.field(field, f"{path}: {error.strerror}") from None


def _raw(public: PublicKeyTypes) -> bytes:
    return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
