"""Every option, written once.

An option is a field of one of the sections below: its name, type, default and one-sentence help. Everything
else is derived from it: the environment variable (``HEADRACE_SERVER__PORT``), the flag (``--server-port``, and
the short ``--port`` where the field names one), the key in the file (``port`` under ``[server]``), the row in
the reference page, and ``headrace config``.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from headrace.errors import SettingInvalid
from headrace.settings.rules import ANY, Rule, read_rules, require_reachable

PREFIX: Final = "HEADRACE_"
_HEADER: Final = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+=[\x20-\x2b\x2d-\x7e]+"
_HEADERS: Final = re.compile(rf"{_HEADER}(?:,{_HEADER})*")


def option(
    default: Any, help_text: str, *, flag: str | None = None, shown: str | None = None, **constraints: Any
) -> Any:
    """Declare an option.

    Args:
        default: Its default, or what makes it.
        help_text: One sentence.
        flag: A short flag, if it deserves one.
        shown: How help and documentation spell a default that differs from machine to machine.
        constraints: What pydantic checks.
    """
    given = {"default_factory": default} if callable(default) else {"default": default}
    return Field(**given, description=help_text, json_schema_extra={"flag": flag, "shown": shown}, **constraints)


def default_home() -> Path:
    """Return the user's data folder for Headrace, by the XDG base directory specification.

    Raises:
        SettingInvalid: The user has no home, as the arbitrary user ids that some clusters run containers with.
    """
    base = os.environ.get("XDG_DATA_HOME", "")
    try:
        return (Path(base) if base.startswith("/") else Path.home() / ".local/share") / "headrace"
    except RuntimeError as error:
        raise SettingInvalid(
            "store.home has no default, since the user has no home folder; use --home or set HEADRACE_STORE__HOME",
            field="store.home",
        ) from error


class Section(BaseModel):
    """A group of options."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, hide_input_in_errors=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_bool(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse ``port = true``, which pydantic reads as 1; its strict mode would refuse the environment's text."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError("true and false are no value for it")
        return value


class ServerSettings(Section):
    """Where requests come in."""

    host: str = option("127.0.0.1", "Address to listen on; a public one needs auth.keys.", flag="--host")
    port: int = option(8000, "Port to listen on; 0 lets the system choose.", flag="--port", ge=0, le=65535)
    grpc_port: int | None = option(
        None, "Port to listen on for gRPC; 0 lets the system choose; default: none.", flag="--grpc-port", ge=0, le=65535
    )
    request_timeout_s: float = option(30.0, "Longest time one request may take, in seconds.", gt=0, le=3600)
    receive_timeout_s: float = option(10.0, "Longest time a request may take to arrive.", gt=0, le=600)
    drain_timeout_s: float = option(20.0, "Longest wait for running requests at shutdown.", ge=0, le=600)
    linger_s: float = option(1.0, "How long idle connections stay open after shutdown began.", ge=0, le=60)
    max_body_bytes: int = option(2 << 20, "Largest request body, after decompression.", ge=1024, le=1 << 30)
    compress: bool = option(
        True, "Compress answers of 1 KiB and more for clients that read zstd or gzip; turn it off where a proxy does."
    )
    max_header_bytes: int = option(16 << 10, "Largest request line and headers.", ge=1024, le=1 << 20)
    tls_certificate: Path | None = option(
        None, "File with a certificate and its chain (PEM); with it, TLS is spoken at every port, and nothing else."
    )
    tls_key: Path | None = option(None, "File with the certificate's key (PEM), without a password.")
    tls_clients: Path | None = option(
        None, "File with authorities (PEM); only clients that have a certificate of one of them may connect."
    )

    @model_validator(mode="after")
    def _require_whole(self) -> Self:
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise ValueError("tls_certificate and tls_key are needed together")
        if self.tls_clients is not None and self.tls_certificate is None:
            raise ValueError("tls_clients needs tls_certificate")
        return self


class EngineSettings(Section):
    """How models run."""

    # What is not set of these five is taken from what "headrace tune" measured on this machine, if it did.
    runtime: Literal["auto", "onnxruntime", "openvino", "native"] = option(
        "auto", "Library that computes; auto: as measured.", flag="--runtime"
    )
    precision: Literal["auto", "fp32", "int16", "bf16", "int8"] = option(
        "auto",
        "What models compute in; auto: as measured, and fp32 where nothing was. int8 only if it is asked for.",
        flag="--precision",
    )
    threads: int | None = option(
        None, "Threads of one inference; default: the CPU limit.", flag="--threads", ge=1, le=1024
    )
    sessions: int = option(1, "Inferences that run at the same time for one model.", ge=1, le=64)
    # Tokens/s of all-MiniLM-L6-v2, fp32, on 2 cores of an EPYC: 13,900 at 256, 14,300 at 512, 14,400 at 1,024, and
    # 11,500 at 2,048, where what flows between the layers no longer fits the cache.
    token_budget: int = option(1024, "Most tokens in one batch, padding included.", ge=1, le=1 << 20)
    tune: bool = option(
        True,
        "Measure at the first start which runtime and precision are the fastest here; some seconds.",
        flag="--tune",
    )
    isolation: Literal["process", "none"] = option(
        "process", "Run each model in a process of its own, which may crash alone, or in this one."
    )
    # An answer that takes over a second is of little use to somebody who waits for it. Half of it for the queue leaves
    # the rest for the request's own work and for what was guessed wrong, and is 20 batches, so no session runs dry.
    max_wait_s: float = option(
        0.5, "Work that may wait for one model before a fifth request is refused, in seconds of it.", gt=0, le=3600
    )
    max_queued_texts: int = option(
        2048, "Texts that may wait for one model before new ones are refused.", ge=1, le=1 << 20
    )
    # One request as large as the limits allow: 256 texts of 32,768 characters of 4 bytes. It is a number, not a share
    # of the machine's memory: caches and other models take theirs too, and a server should refuse the same everywhere.
    max_queued_bytes: int = option(
        32 << 20, "Bytes of text that may wait for one model before new ones are refused.", ge=1024, le=1 << 30
    )


class StoreSettings(Section):
    """Where models are kept."""

    home: Path = option(default_home, "Folder for models and records.", flag="--home", shown="$XDG_DATA_HOME/headrace")
    remote: str | None = option(None, "Where models are pushed to and pulled from: s3://BUCKET or s3://BUCKET/PREFIX.")
    follow_s: float = option(1.0, "Seconds between looks at which versions the store wants; 0: never.", ge=0, le=86_400)

    @property
    def models(self) -> Path:
        """The folder that holds one folder for each model."""
        return self.home / "models"

    @property
    def records(self) -> Path:
        """The file that holds keys and what was changed, where no database does."""
        return self.home / "records.sqlite3"

    @property
    def plans(self) -> Path:
        """The folder that holds what was measured on this machine."""
        return self.home / "plans"

    @field_validator("home")
    @classmethod
    def _expand(cls, value: Path) -> Path:
        try:
            return value.expanduser()
        except RuntimeError as error:
            raise ValueError("there is no such user, or it has no home folder") from error


class CacheSettings(Section):
    """Remembered answers."""

    max_bytes: int = option(64 << 20, "Memory for remembered answers; 0 remembers nothing.", ge=0)
    max_age_s: int = option(300, "Seconds for which whoever asked by GET may keep the answer.", ge=0, le=31_536_000)
    shared: bool = option(False, "Let caches between here and the callers, such as a CDN, keep answers to GET as well.")
    ttl_s: int = option(86_400, "Seconds for which Redis keeps an answer, if there is one.", ge=1, le=31_536_000)


class LimitSettings(Section):
    """How much one caller may use."""

    max_inputs: int = option(256, "Most texts in one request.", ge=1, le=65536)
    max_text_chars: int = option(32_768, "Longest single text, in characters.", ge=1, le=1 << 24)
    requests_per_s: float | None = option(None, "Sustained requests per second for one caller.", ge=1e-3)
    burst: int = option(64, "Requests a caller may send at once before the rate applies.", ge=1, le=1 << 20)
    max_callers: int = option(10_000, "Callers that are remembered for each limit.", ge=1, le=10_000_000)
    rules: Annotated[tuple[Rule, ...], NoDecode] = option(
        (),
        "What else is limited, with ; between rules: '9 requests/s burst=20; 5000000 tokens/day; 8 concurrent', each"
        " perhaps with caller=, tenant= or model=.",
    )

    @property
    def all_rules(self) -> tuple[Rule, ...]:
        """The rules, and after them that of ``requests_per_s``, so that one of them may make an exception of it."""
        rate = self.requests_per_s
        if rate is None:
            return self.rules
        return (*self.rules, Rule(counted="requests", amount=rate, period="s", burst=self.burst, caller=ANY))

    @field_validator("rules", mode="before")
    @classmethod
    def _read_rules(cls, value: Any) -> Any:
        rules = read_rules(value)
        require_reachable(rules)
        return rules

    @model_validator(mode="after")
    def _require_reachable(self) -> Self:
        require_reachable(self.all_rules)
        return self


class AuthSettings(Section):
    """Who may call."""

    keys: Annotated[tuple[SecretStr, ...], NoDecode] = option(
        (), "API keys that may do everything, separated by commas; without any key, only this machine may call."
    )
    keys_file: Path | None = option(None, "File with one API key on each line, as a mounted secret.")
    issuer: str | None = option(None, "Identity provider (OpenID Connect) whose tokens are taken: https://...")
    audience: str | None = option(None, "What those tokens must be for.")
    tenant_claim: str = option("", "Claim of those tokens that says whose a caller is; without it there is one tenant.")
    signing_keys: Path | None = option(
        None, "File of private keys (PEM) that tokens of this server are signed with, by the first; default: no tokens."
    )
    token_s: int = option(600, "Seconds for which an access token of this server is good.", ge=300, le=900)

    @model_validator(mode="after")
    def _require_both(self) -> Self:
        if bool(self.issuer) != bool(self.audience):
            raise ValueError("issuer and audience are needed together")
        return self

    @field_validator("keys", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(key.strip() for key in value.split(",") if key.strip()) if isinstance(value, str) else value


class RecordSettings(Section):
    """What is kept of who may call, and of who changed what."""

    url: SecretStr | None = option(
        None, "Database that replicas share: postgresql://USER:PASSWORD@HOST/NAME; default: a file beside the models."
    )
    follow_s: float = option(1.0, "Seconds between looks for keys that others made or revoked.", gt=0, le=3600)


class EventSettings(Section):
    """What is told, while it happens, to whoever follows it."""

    keep: int = option(1000, "Events that are kept for readers that come back, or are slow.", ge=16, le=10_000)
    max_readers: int = option(256, "Readers at once; one caller has the fourth part at most.", ge=1, le=10_000)


class RedisSettings(Section):
    """What replicas share while they run: how much callers used, what was answered, and what happens."""

    url: SecretStr | None = option(
        None, "Server that replicas share: redis://[USER:PASSWORD@]HOST:PORT; default: each counts and remembers alone."
    )


class TraceSettings(Section):
    """What is told of single requests, to a collector of OpenTelemetry."""

    endpoint: str | None = option(
        None, "Collector for OTLP over HTTP, such as http://127.0.0.1:4318; default: no traces are kept."
    )
    headers: SecretStr | None = option(None, "Headers that the collector wants, such as a key: NAME=VALUE,NAME=VALUE.")
    sample: float = option(1.0, "Share of requests that are told of, where the caller has not decided.", ge=0, le=1)
    service: str = option(
        "headrace", "Name of this server among others that tell of theirs.", pattern=r"^[\w.-]{1,64}$"
    )

    @field_validator("endpoint")
    @classmethod
    def _check_endpoint(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        is_plain = parts.port != 0 and parts.username is None and not parts.query and not parts.fragment
        if parts.scheme not in {"http", "https"} or not parts.hostname or not is_plain:
            raise ValueError("it must be http://HOST:PORT or https://HOST:PORT, perhaps with a path, and nothing else")
        return value.rstrip("/") + ("" if parts.path.strip("/") else "/v1/traces")

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _HEADERS.fullmatch(value.get_secret_value()):
            raise ValueError("it must be NAME=VALUE, with commas between several")
        return value


class LogSettings(Section):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = option("info", "Least severe line.", flag="--log-level")
    format: Literal["auto", "console", "json"] = option(
        "auto", "Lines for people or for machines; auto asks whether a terminal is there."
    )


class Settings(BaseSettings):
    """All sections. Frozen: a change of settings is a restart."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,  # ``VARIABLE=`` is how Compose and Kubernetes files leave a value out
        frozen=True,
        extra="forbid",
        validate_default=True,
    )

    # Factories: a default may depend on the machine, and a machine without it must still be told what is missing.
    server: ServerSettings = Field(default_factory=ServerSettings)
    engine: EngineSettings = Field(default_factory=EngineSettings)
    store: StoreSettings = Field(default_factory=StoreSettings)
    cache: CacheSettings = Field(default_factory=CacheSettings)
    limits: LimitSettings = Field(default_factory=LimitSettings)
    auth: AuthSettings = Field(default_factory=AuthSettings)
    records: RecordSettings = Field(default_factory=RecordSettings)
    events: EventSettings = Field(default_factory=EventSettings)
    redis: RedisSettings = Field(default_factory=RedisSettings)
    log: LogSettings = Field(default_factory=LogSettings)
    traces: TraceSettings = Field(default_factory=TraceSettings)
