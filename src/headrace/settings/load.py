"""Where options come from. Precedence: flag, environment, file, default."""

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource

from headrace.errors import SettingInvalid, SettingUnknown
from headrace.settings.sections import PREFIX, Section, Settings

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
    # Its core writes to standard error by itself, also bytes of headers as they came.
    "GRPC_VERBOSITY": "NONE",
}


def instruct_libraries() -> None:
    """Tell libraries what they read from the environment on their import, unless whoever runs this did so already."""
    for name, value in _FOR_LIBRARIES.items():
        os.environ.setdefault(name, value)


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
