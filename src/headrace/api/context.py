"""What the doors share: the service, the guard, the settings and who is told."""

from dataclasses import dataclass, field
from typing import Protocol

from headrace.api.fragments import Fragments
from headrace.auth.base import Credentials, Guard
from headrace.errors import CallerUnknown, ServiceUnready
from headrace.idempotency import Idempotency
from headrace.keyring import Keyring
from headrace.observe.base import Observer
from headrace.observe.counts import VersionCounts
from headrace.observe.traces import Tracer, Untraced
from headrace.readers import Readers
from headrace.service import Service
from headrace.settings import Settings
from headrace.tokens import Tokens
from headrace.users import Users


class MetricsSource(Protocol):
    """Something that can show the metrics."""

    def render(self, *, as_openmetrics: bool = False) -> bytes:
        """Return the metrics in Prometheus' text format, version 0.0.4, or in that of OpenMetrics, version 1.0.0.

        The latter has exemplars: a trace for each range of a histogram.
        """
        ...


@dataclass(slots=True)
class Context:
    """What the doors share.

    Attributes:
        is_draining: Set when the server stops; each response then closes its connection.
    """

    service: Service
    keyring: Keyring
    idempotency: Idempotency
    users: Users
    tokens: Tokens
    readers: Readers
    guard: Guard
    settings: Settings
    observer: Observer
    metrics: MetricsSource
    counts: VersionCounts
    tracer: Tracer = field(default_factory=Untraced)
    fragments: Fragments = field(default_factory=Fragments)
    is_draining: bool = False

    def tenant_of(self, credentials: Credentials) -> str | None:
        """Return whose caller shows these credentials; nothing if nobody's, or if all who may call are one."""
        if self.guard.is_local:
            return None
        try:
            return self.guard.identify(credentials).tenant
        except CallerUnknown:
            return None

    def require_ready(self) -> None:
        """Let a probe pass if a request would be answered: every model has passed a real one, and no stop has begun.

        Raises:
            ServiceUnready: It would not.
        """
        if self.is_draining or not self.service.is_ready:
            raise ServiceUnready("the models are loading or the server is stopping; ask again later", retry_after_s=1)
