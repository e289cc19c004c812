"""The machine or the configuration."""

from headrace.errors.base import HeadraceError


class SetupError(HeadraceError):
    """The machine or the configuration."""


class SettingUnknown(SetupError):
    """An option that does not exist."""

    code = "setting.unknown"


class SettingInvalid(SetupError):
    """An option with a value it cannot have."""

    code = "setting.invalid"


class DependencyMissing(SetupError):
    """An extra is not installed."""

    code = "dependency.missing"


class PortTaken(SetupError):
    """Another process listens on the address."""

    code = "port.taken"


class BindRefused(SetupError):
    """A public address without any key."""

    code = "bind.refused"
