"""Every option, and where its value comes from. Nothing else reads the environment."""

from headrace.settings.load import (
    CONFIG_VARIABLE,
    DEFAULT_FILE,
    LoadedSettings,
    Option,
    instruct_libraries,
    load_settings,
    options,
)
from headrace.settings.rules import Counted, Rule
from headrace.settings.sections import (
    AuthSettings,
    CacheSettings,
    EngineSettings,
    EventSettings,
    LimitSettings,
    LogSettings,
    RecordSettings,
    RedisSettings,
    ServerSettings,
    Settings,
    StoreSettings,
    TraceSettings,
    default_home,
)

__all__ = [
    "CONFIG_VARIABLE",
    "DEFAULT_FILE",
    "AuthSettings",
    "CacheSettings",
    "Counted",
    "EngineSettings",
    "EventSettings",
    "LimitSettings",
    "LoadedSettings",
    "LogSettings",
    "Option",
    "RecordSettings",
    "RedisSettings",
    "Rule",
    "ServerSettings",
    "Settings",
    "StoreSettings",
    "TraceSettings",
    "default_home",
    "instruct_libraries",
    "load_settings",
    "options",
]
