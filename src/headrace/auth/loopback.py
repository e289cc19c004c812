"""The guard of a server without keys: only this machine may call."""

import functools
import ipaddress

from headrace.auth.base import Credentials
from headrace.errors import CallerUnknown
from headrace.types import Caller, Scope

_LOCAL = Caller("local", frozenset(Scope))


class LoopbackGuard:
    """Admits whoever calls over the loopback interface, with every scope, and nobody else.

    A key that is shown is ignored: clients that always send one work with a local server, too. A proxy on this
    machine makes all its clients local; a server behind one needs keys.
    """

    @property
    def is_local(self) -> bool:
        """Whether only this machine is admitted."""
        return True

    def identify(self, credentials: Credentials) -> Caller:
        """Return the caller ``local``.

        Raises:
            CallerUnknown: The other end of the connection is another machine, or not known.
        """
        if credentials.peer is None or not is_loopback(credentials.peer):
            raise CallerUnknown(
                "this server has no API keys, so only its own machine may call it; "
                "set auth.keys (HEADRACE_AUTH__KEYS) on the server and send one as 'Authorization: Bearer KEY'"
            )
        return _LOCAL


@functools.lru_cache(maxsize=64)  # there are few addresses that connect to this machine's own
def is_loopback(host: str) -> bool:
    """Tell whether an address is 127.0.0.0/8 or ::1, also when IPv4 is written as IPv6 (::ffff:127.0.0.1)."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False  # a name, or the path of a socket
    # A socket that listens on :: reports IPv4 peers this way; Python 3.11 does not look inside.
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
