"""Every option, written once.

An option is a field of one of the sections below: its name, type, default and one-sentence help. Everything
else is derived from it: the environment variable (``HEADRACE_SERVER__PORT``), the flag (``--server-port``, and
the short ``--port`` where the field names one), the key in the file (``port`` under ``[server]``), the row in
the reference page, and ``headrace config``. Precedence: flag, environment, file, default.

This is the only module that reads the environment.
"""

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, NoDecode, SettingsConfigDict

from headrace.errors import SettingInvalid, SettingUnknown

PREFIX: Final = "HEADRACE_"
CONFIG_VARIABLE: Final = "HEADRACE_CONFIG"
"""Names the settings file; the one variable that is not an option, since a file cannot say where it is."""
DEFAULT_FILE: Final = "headrace.toml"

_FOR_LIBRARIES: Final = {
    # What runs here is nobody's business: ONNX Runtime, which keeps a database of events, huggingface_hub, and others.
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    # A thread for each core would fight with the inference for those that the container may use: of tokenizers, though
    # one tokenizes 32,768 characters in 10 ms, and of NumPy, though one computes the heads of 16 texts in 80 us.
    "TOKENIZERS_PARALLELISM": "false",
    "OPENBLAS_NUM_THREADS": "1",
    # oneDNN, which OpenVINO computes with, keeps code for its last 1,024 primitives (docs/decisions/0008).
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64",
}


def instruct_libraries() -> None:
    """Tell libraries what they read from the environment on their import, unless whoever runs this did so already."""
    for name, value in _FOR_LIBRARIES.items():
        os.environ.setdefault(name, value)


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
    """The REST server."""

    host: str = option("127.0.0.1", "Address to listen on; a public one needs auth.keys.", flag="--host")
    port: int = option(8000, "Port to listen on; 0 lets the system choose.", flag="--port", ge=0, le=65535)
    request_timeout_s: float = option(30.0, "Longest time one request may take, in seconds.", gt=0, le=3600)
    receive_timeout_s: float = option(10.0, "Longest time a request may take to arrive.", gt=0, le=600)
    drain_timeout_s: float = option(20.0, "Longest wait for running requests at shutdown.", ge=0, le=600)
    linger_s: float = option(1.0, "How long idle connections stay open after shutdown began.", ge=0, le=60)
    max_body_bytes: int = option(2 << 20, "Largest request body, after decompression.", ge=1024, le=1 << 30)
    max_header_bytes: int = option(16 << 10, "Largest request line and headers.", ge=1024, le=1 << 20)


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

    home: Path = option(default_home, "Folder for models.", flag="--home", shown="$XDG_DATA_HOME/headrace")
    remote: str | None = option(None, "Where models are pushed to and pulled from: s3://BUCKET or s3://BUCKET/PREFIX.")
    follow_s: float = option(1.0, "Seconds between looks at which versions the store wants; 0: never.", ge=0, le=86_400)

    @property
    def models(self) -> Path:
        """The folder that holds one folder for each model."""
        return self.home / "models"

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


class LimitSettings(Section):
    """How much one caller may use."""

    max_inputs: int = option(256, "Most texts in one request.", ge=1, le=65536)
    max_text_chars: int = option(32_768, "Longest single text, in characters.", ge=1, le=1 << 24)
    requests_per_s: float | None = option(None, "Sustained requests per second for one caller.", ge=1e-3)
    burst: int = option(64, "Requests a caller may send at once before the rate applies.", ge=1, le=1 << 20)
    max_callers: int = option(10_000, "Callers whose rate is remembered.", ge=1, le=10_000_000)


class AuthSettings(Section):
    """Who may call."""

    keys: Annotated[tuple[SecretStr, ...], NoDecode] = option(
        (), "API keys, separated by commas; without any, only this machine may call."
    )
    keys_file: Path | None = option(None, "File with one API key on each line, as a mounted secret.")

    @field_validator("keys", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(key.strip() for key in value.split(",") if key.strip()) if isinstance(value, str) else value


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
    log: LogSettings = Field(default_factory=LogSettings)


@dataclass(frozen=True, slots=True)
class Option:
    """One option as users see it; ``default`` is empty where there is none to name."""

    section: str
    name: str
    help: str
    annotation: Any
    default: str
    short_flag: str | None

    @property
    def key(self) -> str:
        """Its name in messages and in the file, such as ``server.port``."""
        return f"{self.section}.{self.name}"

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return f"{PREFIX}{self.section}__{self.name}".upper()

    @property
    def flag(self) -> str | None:
        """Its long flag; a secret has none, since a command line is public on the machine."""
        return None if self.is_secret else f"--{self.section}-{self.name}".replace("_", "-")

    @property
    def is_secret(self) -> bool:
        """Whether its value must never be shown."""
        return "SecretStr" in str(self.annotation)


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """Settings, and for each option where its value came from (``default`` where a key is missing)."""

    settings: Settings
    origins: Mapping[str, str]
    file: Path | None


def options() -> Iterator[Option]:
    """Yield every option, section by section, in the order of the definitions."""
    for section, section_field in Settings.model_fields.items():
        model = section_field.annotation
        if not (isinstance(model, type) and issubclass(model, Section)):
            raise TypeError(f"the section {section!r} must be a Section")
        for name, field in model.model_fields.items():
            extra = field.json_schema_extra
            told = extra if isinstance(extra, dict) else {}
            yield Option(
                section,
                name,
                field.description or "",
                field.rebuild_annotation(),
                str(told.get("shown") or _spell(field.default)),
                str(told["flag"]) if told.get("flag") else None,
            )


def _spell(default: Any) -> str:
    return "" if default is None or default == () else str(default)


def load_settings(flags: Mapping[str, Any] | None = None, file: Path | None = None) -> LoadedSettings:
    """Read flags, environment and file into one frozen value.

    Args:
        flags: Values by option key (``server.port``), as the command line gave them.
        file: The settings file; by default what ``HEADRACE_CONFIG`` names, else ``headrace.toml`` if there.

    Raises:
        SettingUnknown: A variable or key that is no option, with the nearest name.
        SettingInvalid: A value an option cannot have, or a file that cannot be read.
    """
    path = _find_file(file)
    layers = [
        (f"file {path}", _read_file(path) if path else {}),
        ("environment", _read_environment()),
        ("flag", _nest(flags or {})),
    ]
    merged: dict[str, dict[str, Any]] = {}
    origins: dict[str, str] = {}
    for origin, layer in layers:
        for section, values in layer.items():
            merged.setdefault(section, {}).update(values)
            origins.update({f"{section}.{name}": origin for name in values})
    return LoadedSettings(_validate(merged, origins), origins, path)


def _validate(values: Mapping[str, Any], origins: Mapping[str, str]) -> Settings:
    sections = {name: field.annotation for name, field in Settings.model_fields.items()}
    try:
        built = {name: sections[name].model_validate(value) for name, value in values.items()}  # type: ignore[union-attr]
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        section = next(name for name, model in sections.items() if model and model.__name__ == error.title)
        key = ".".join([section, *(str(part) for part in first["loc"][:1])])
        secret = any(known.key == key and known.is_secret for known in options())
        given = first["input"]
        shown = "a secret value" if secret else repr(str(given) if isinstance(given, Path) else given)
        reason = first["msg"].removeprefix("Value error, ")
        raise SettingInvalid(
            f"{key} cannot be {shown} ({origins.get(key, 'default')}): {reason}; see headrace config", field=key
        ) from error
    return Settings.model_construct(
        **{name: built[name] if name in built else model() for name, model in sections.items() if model is not None}
    )


def _find_file(file: Path | None) -> Path | None:
    if file is None and (named := os.environ.get(CONFIG_VARIABLE)):
        file = Path(named)
    if file is None:
        # Not ``is_file``, which raises where the current folder may not be looked into.
        return Path(DEFAULT_FILE) if os.access(DEFAULT_FILE, os.F_OK) else None
    if not os.access(file, os.R_OK):
        raise SettingInvalid(
            f"the settings file {str(file)!r} does not exist or cannot be read; create it or drop --config"
        )
    return file


def _read_file(path: Path) -> dict[str, dict[str, Any]]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingInvalid(f"the settings file {str(path)!r} is not readable TOML: {error}") from error
    known = {known.key for known in options()}
    for section, values in content.items():
        if not isinstance(values, dict):
            raise SettingUnknown(f"{section!r} in {str(path)!r} is no section; {_nearest(section, known)}")
        for name in values:
            _refuse_unknown(f"{section}.{name}", known, f"in {str(path)!r}")
    return content


def _read_environment() -> dict[str, dict[str, Any]]:
    known = {known.variable for known in options()} | {CONFIG_VARIABLE}
    for name in sorted(os.environ):
        if name.upper().startswith(PREFIX):
            _refuse_unknown(name, known, "in the environment")
    return EnvSettingsSource(Settings)()


def _nest(flags: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    nested: dict[str, dict[str, Any]] = {}
    for key, value in flags.items():
        section, _, name = key.partition(".")
        nested.setdefault(section, {})[name] = value
    return nested


def _refuse_unknown(name: str, known: set[str], where: str) -> None:
    if name not in known:
        raise SettingUnknown(f"{name!r} {where} is no option; {_nearest(name, known)}", field=name)


def _nearest(name: str, known: set[str]) -> str:
    folded = {candidate.lower(): candidate for candidate in sorted(known)}
    near = difflib.get_close_matches(name.lower(), list(folded), n=1, cutoff=0.0)
    return f"did you mean {folded[near[0]]!r}? See headrace config"
