"""Whom a client takes for its server, and as whom it shows itself: certificates in files, in PEM."""

import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from headrace.errors import SettingInvalid
from headrace.pem import read_pem, refuse_password

StrPath = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Trust:
    """Files of certificates.

    Attributes:
        authorities: Whose certificates the server may have; nothing for those that this system knows.
        certificate: What is shown to a server that asks for a certificate, and the file of its key.
    """

    authorities: Path | None = None
    certificate: tuple[Path, Path] | None = None

    def context(self) -> ssl.SSLContext:
        """Return what speaks TLS so.

        Raises:
            SettingInvalid: A file cannot be read, or is not what it should be.
        """
        try:
            context = ssl.create_default_context(cafile=self.authorities)
        except (OSError, ValueError) as error:  # an SSLError is one; its text names a line of OpenSSL's source
            raise _wrong("authorities", self.authorities, "has no certificates of authorities in PEM") from error
        if self.certificate is not None:
            certificate, key = self.certificate
            try:
                context.load_cert_chain(certificate, key, password=refuse_password)
            except (OSError, ValueError) as error:
                reason = f"is no certificate in PEM with the key {str(key)!r}, which must have no password"
                raise _wrong("certificate", certificate, reason) from error
        return context

    def pems(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """Return what the files hold: the authorities, the key and the certificate.

        Raises:
            SettingInvalid: One cannot be read.
        """
        certificate, key = self.certificate or (None, None)
        return _read("authorities", self.authorities), _read("certificate", key), _read("certificate", certificate)


SYSTEM: Final = Trust()
"""The authorities that this system knows, and no certificate of one's own."""


def trust_of(authorities: StrPath | None, certificate: Sequence[StrPath] | None) -> Trust:
    """Return what somebody named.

    Raises:
        SettingInvalid: The certificate is not named with its key.
    """
    if certificate is not None and (isinstance(certificate, str) or len(certificate) != 2):  # noqa: PLR2004 - a pair
        raise SettingInvalid(
            f"certificate is {certificate!r}; give two files, that of the certificate and that of its key",
            field="certificate",
        )
    return Trust(
        None if authorities is None else Path(authorities),
        None if certificate is None else (Path(certificate[0]), Path(certificate[1])),
    )


def _read(field: str, path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return read_pem(path)
    except ValueError as error:
        raise _wrong(field, path, str(error)) from None


def _wrong(field: str, path: Path | None, reason: str) -> SettingInvalid:
    return SettingInvalid(f"{field} {str(path)!r} {reason}; name another file", field=field)
