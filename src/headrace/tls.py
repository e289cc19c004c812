"""TLS for every door: a certificate, and perhaps the authorities whose certificates clients must have.

The files are looked at again with each connection that begins, so a certificate is renewed without a restart, as
cert-manager and mounted secrets do it. What cannot be used then is left, and the last that could goes on.
"""

import ssl
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import structlog

from headrace.errors import SettingInvalid
from headrace.pem import read_pem, refuse_password
from headrace.settings import ServerSettings


@dataclass(frozen=True, slots=True)
class Pems:
    """What is in the files.

    Attributes:
        clients: Authorities; nothing if anybody may connect.
        context: The same, as Python's library has it.
    """

    certificate: bytes
    key: bytes
    clients: bytes | None
    context: ssl.SSLContext

    @classmethod
    def read(cls, settings: ServerSettings) -> Self:
        """Read the files.

        Raises:
            SettingInvalid: One cannot be read, or they are not what they should be.
        """
        return cls(
            certificate=_read(settings.tls_certificate, "tls_certificate") or b"",
            key=_read(settings.tls_key, "tls_key") or b"",
            clients=_read(settings.tls_clients, "tls_clients"),
            context=_make_context(settings),
        )


class Tls:
    """What the files of the settings say, or said when they could last be used. Any thread may ask.

    Raises:
        SettingInvalid: One cannot be read, or they are not what they should be.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._seen = _look(settings)
        self._pems = Pems.read(settings)

    def current(self) -> Pems:
        """Return what the files say now; the same object as long as they did not change."""
        seen = _look(self._settings)
        with self._lock:
            if seen != self._seen:
                self._seen = seen
                self._renew()
            return self._pems

    def context(self) -> ssl.SSLContext:
        """Return what the REST door speaks TLS with."""
        context = _make_context(self._settings)
        context.sni_callback = self._begin
        return context

    def _renew(self) -> None:
        reason = ""
        try:
            self._pems = Pems.read(self._settings)
        except SettingInvalid as error:
            reason = error.message
        log = structlog.get_logger()
        if reason:
            log.error("tls.not_renewed", reason=reason, hint="the certificate before goes on")
        else:
            log.info("tls.renewed")

    def _begin(self, connection: Any, _name: str | None, _context: ssl.SSLContext) -> None:
        """Let a connection that begins have what the files say now."""
        connection.context = self.current().context


def open_tls(settings: ServerSettings) -> Tls | None:
    """Return what TLS is spoken with; nothing if it is not."""
    return None if settings.tls_certificate is None else Tls(settings)


def _look(settings: ServerSettings) -> list[tuple[int, int] | None]:
    """Return what changes with the files; of a file that is not there, nothing."""
    return [_stat(path) for path in (settings.tls_certificate, settings.tls_key, settings.tls_clients)]


def _stat(path: Path | None) -> tuple[int, int] | None:
    try:
        found = path.stat() if path is not None else None
    except OSError:
        return None
    return None if found is None else (found.st_mtime_ns, found.st_ino)


def _read(path: Path | None, option: str) -> bytes | None:
    if path is None:
        return None
    try:
        return read_pem(path)
    except ValueError as error:
        raise _wrong(option, path, str(error)) from None


def _make_context(settings: ServerSettings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    certificate, key, clients = settings.tls_certificate, settings.tls_key, settings.tls_clients
    try:
        context.load_cert_chain(certificate or "", key, password=refuse_password)
    except (OSError, ValueError) as error:  # an SSLError is one; its text names a line of OpenSSL's source
        reason = "is no certificate in PEM with the key of server.tls_key, which must have no password"
        raise _wrong("tls_certificate", certificate, reason) from error
    if clients is not None:
        try:
            context.load_verify_locations(clients)
        except (OSError, ValueError) as error:
            raise _wrong("tls_clients", clients, "has no certificates of authorities in PEM") from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _wrong(option: str, path: Path | None, reason: str) -> SettingInvalid:
    return SettingInvalid(
        f"server.{option} {str(path)!r} {reason}; name another file, or unset it", field=f"server.{option}"
    )
