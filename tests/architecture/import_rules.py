"""Rules about who may import what. Each takes a source tree and returns one line for each violation."""

from fnmatch import fnmatch
from sys import stdlib_module_names
from typing import Final

from tests.architecture.graph import PACKAGE, Import, Tree, cycles, imports, module_name

# The package itself holds the version and the base error, nothing else.
_ZERO: Final = (
    PACKAGE,
    "allowance",
    "codings",
    "errors",
    "following",
    "options",
    "types",
    "settings",
    "machine",
    "memory",
    "pem",
    "tls",
    "version",
)
_PORTS: Final = ("auth.base", "limits.base", "cache.base", "observe.base", "observe.watched", "records.base")
# Who changes who may call: what may be given, and where it is kept and noted.
_KEEPING: Final = ("auth.base", "auth.giving", "records.accounts", "records.base", "records.journal")
_BESIDE_PORTS: Final = ("cache.flight", "cache.results", "limits.bill")
_FOLLOWED: Final = ("events.base", "events.kinds")

LAYERS: Final[dict[str, tuple[str, ...]]] = {
    PACKAGE: ("errors", "version"),
    "allowance": (),
    "codings": (),
    "errors": ("errors", "allowance"),
    "following": ("errors",),
    "options": (),
    "types": ("options", "allowance"),
    "settings": ("errors", "settings"),
    "machine": (),
    "memory": (),
    "pem": (),
    "tls": ("errors", "pem", "settings"),
    "version": (),
    "tasks": (*_ZERO, "tasks"),
    "models": (*_ZERO, "models"),
    "engine": (*_ZERO, "engine", "models", "observe.base"),
    # An adapter knows its port, never another adapter.
    # A token is checked with what its issuer publishes; who is on this machine is asked in two places.
    "auth": (
        *_ZERO,
        "auth.base",
        "auth.gate",
        "auth.issuer",
        "auth.jwts",
        "auth.loopback",
        "auth.signing",
        "auth.standing",
        "records.accounts",
        "records.base",
    ),
    "limits": (*_ZERO, "limits.base", "limits.kinds", "limits.rulebook", "limits.script", "redis"),
    "cache": (*_ZERO, "cache.base", "redis"),
    # Events are made of facts; what keeps them for readers is the same wherever they come from.
    "events": (*_ZERO, *_FOLLOWED, "events.ring", "observe.base", "redis"),
    # What several adapters ask of one server.
    "redis": (*_ZERO,),
    "observe": (*_ZERO, "observe.base", "observe.traces"),
    "records": (*_ZERO, "records"),
    "readers": (*_ZERO, *_FOLLOWED, "auth.base", "observe.base"),
    "idempotency": (*_ZERO, "auth.base", "records.base"),
    "keyring": (*_ZERO, *_KEEPING),
    "users": (*_ZERO, *_KEEPING),
    # A token is for a key or a user: it looks at what is shown as guards do, and counts what was wrong.
    "tokens": (*_ZERO, *_KEEPING, "auth.gate", "auth.guesses", "auth.keys", "auth.standing"),
    "bounds": (*_ZERO, "tasks.base"),
    "shadow": (*_ZERO, "tasks", "engine", "observe.base"),
    "rollout": (*_ZERO, "models", "engine", "shadow", "observe.base", "records.journal"),
    "answering": (*_ZERO, "tasks", "engine", *_PORTS, *_BESIDE_PORTS),
    "service": (
        *_ZERO,
        "tasks",
        "models",
        "engine",
        "rollout",
        "shadow",
        "bounds",
        "answering",
        *_PORTS,
        *_BESIDE_PORTS,
    ),
    "api": (
        *_ZERO,
        "api",
        "service",
        "keyring",
        "idempotency",
        "users",
        "tokens",
        "readers",
        *_FOLLOWED,
        "tasks",
        "models.manifest",
        "models.roles",
        "auth.base",
        "auth.giving",
        "observe.base",
        "observe.counts",
        "observe.traces",
        "records.accounts",
        "records.base",
    ),
    "adapters": (
        *_ZERO,
        "api.grpc.server",
        "auth",
        "limits",
        "cache",
        "events",
        "observe.base",
        "observe.otel",
        "observe.traces",
        "redis",
        "records",
        "keyring",
        "users",
        "tokens",
    ),
    "app": (
        *_ZERO,
        "adapters",
        "tasks",
        "models",
        "engine",
        "auth.loopback",
        "events.observer",
        "idempotency",
        "observe",
        "readers",
        "records.journal",
        "rollout",
        "service",
        "api",
    ),
    # How ordinary Python waits for what is asynchronous.
    "background": ("errors",),
    "library": (*_ZERO, "background", "tasks", "app"),
    # It knows what a server says, and nothing of how one works.
    "client": (*_ZERO, "background", "client", "tasks", "api.grpc.generated"),
    # The second program: like app, it puts together what runs in its process.
    "engine_process": (*_ZERO, "models", "engine", "observe"),
    "diagnose": (*_ZERO, "models", "engine", "app", "export.needs"),
    # Commands that need no app (import, doctor) still log.
    "cli": (
        *_ZERO,
        "cli",
        "app",
        "diagnose",
        "tasks",
        "models",
        "observe.logs",
        "adapters",
        "auth.keys",
        "auth.signing",
        "auth.standing",
        "keyring",
        "users",
        "records.accounts",
        "records.base",
        "records.sql",
        "training.watching",
        "training.numbers",
    ),
    "export": (*_ZERO, "export", "models", "tasks", "engine", "observe.base"),
    "training": (*_ZERO, "training", "models", "engine", "export"),
    # It asks models as a user of the library does, and reads data as a training does.
    "optimize": (*_ZERO, "optimize", "models", "engine", "export", "library", "training"),
    "__main__": ("cli",),
}
"""What each part may import of our own, from the inside out; a part is a file or a folder of the package."""

# A command may say what it gets from ``app``.
_TYPES: Final = {
    ("cli", "service"),
    ("library", "service"),
    (PACKAGE, "client"),
    (PACKAGE, "library"),
    ("cli", "engine"),
    ("cli", "training"),
    ("cli", "optimize"),
}
# Export and training need onnx or PyTorch, which serving must not have: one command reaches each, only when it runs.
# The package itself gives a library only to whoever asks for one.
_LAZY: Final = {
    ("headrace/cli/import_.py", "export"),
    ("headrace/cli/train.py", "training"),
    ("headrace/cli/columns.py", "training"),
    ("headrace/cli/optimize.py", "optimize"),
    ("headrace/__init__.py", "client"),
    ("headrace/__init__.py", "library"),
}

HOMES: Final[dict[str, tuple[str, ...]]] = {
    "alembic": ("headrace/records/database.py", "headrace/records/migrations/*"),
    "argon2": ("headrace/auth/passwords.py",),
    "backports": ("headrace/codings.py",),
    "boto3": ("headrace/models/remote/s3.py",),
    "botocore": ("headrace/models/remote/s3.py", "headrace/models/remote/refusals.py"),
    "compression": ("headrace/codings.py",),  # of Python itself, from 3.14 on
    "cryptography": ("headrace/auth/jwts.py", "headrace/auth/signing.py"),
    "fastapi": ("headrace/api/rest/*",),
    "google": ("headrace/api/grpc/*", "headrace/client/grpc.py"),
    "grpc": ("headrace/api/grpc/*", "headrace/client/grpc.py"),
    "grpc_health": ("headrace/api/grpc/health.py",),
    "grpc_reflection": ("headrace/api/grpc/reflection.py",),
    "httpx2": ("headrace/client/rest.py",),
    "huggingface_hub": ("headrace/models/sources/hub.py",),
    "jwt": ("headrace/auth/jwts.py", "headrace/auth/signing.py"),
    "matplotlib": ("headrace/training/charts.py",),
    "numpy": (
        "headrace/types.py",
        "headrace/api/outputs.py",
        "headrace/tasks/*",
        "headrace/engine/*",
        "headrace/export/*",
        "headrace/training/*",
        "headrace/optimize/*",
        "headrace/diagnose.py",
        "headrace/library.py",
        "headrace/client/*",
    ),
    "onnx": ("headrace/export/*", "headrace/optimize/*"),
    # A graph that was shipped is its own original, and runs by itself when it is compared.
    "onnxruntime": ("headrace/engine/onnx.py", "headrace/export/shipped.py", "headrace/optimize/quantize.py"),
    "opentelemetry": ("headrace/observe/otel.py",),
    "openvino": ("headrace/engine/openvino.py",),
    "orjson": (
        "headrace/api/*",
        "headrace/cli/*",
        "headrace/client/*",
        "headrace/engine/wire.py",
        "headrace/observe/logs.py",
    ),
    "prometheus_client": ("headrace/observe/metrics.py",),
    "pyarrow": ("headrace/training/tables.py",),
    "pydantic": (
        "headrace/settings/*",
        "headrace/models/manifest.py",
        "headrace/models/roles.py",
        "headrace/engine/plan.py",
        "headrace/engine/plans.py",
        "headrace/api/*",
    ),
    "pydantic_settings": ("headrace/settings/*",),
    "redis": ("headrace/redis.py",),
    "requests": ("headrace/observe/otel.py",),
    "rich": ("headrace/cli/*",),
    "safetensors": ("headrace/training/checkpoint.py", "headrace/training/head.py"),
    "sqlalchemy": (
        "headrace/records/database.py",
        "headrace/records/rows.py",
        "headrace/records/sql.py",
        "headrace/records/sql_accounts.py",
        "headrace/records/tables.py",
        "headrace/records/migrations/*",
    ),
    "starlette": ("headrace/api/rest/*",),
    # Whoever waits for something outside may log. What is pure (errors, types, settings, tasks) or answers at once
    # and reports by raising (models, auth, limits, cache) has nothing to log.
    "structlog": (
        "headrace/observe/*",
        "headrace/engine/*",
        "headrace/models/sources/*",
        "headrace/models/remote/*",
        "headrace/auth/issuer.py",
        "headrace/events/redis.py",
        "headrace/following.py",
        "headrace/idempotency.py",
        "headrace/redis.py",
        "headrace/tls.py",
        "headrace/rollout.py",
        "headrace/service.py",
        "headrace/api/*",
        "headrace/app.py",
        "headrace/export/*",
        "headrace/cli/*",
    ),
    # The original tokenizes by itself, so that a mistake of serving shows when they are compared.
    "tokenizers": (
        "headrace/engine/tokenizer.py",
        "headrace/export/plain.py",
        "headrace/training/tokens.py",
        "headrace/optimize/quantize.py",
    ),
    "torch": ("headrace/export/*", "headrace/training/*"),
    "transformers": ("headrace/export/*", "headrace/training/*"),
    "typer": ("headrace/cli/*",),
    "uvicorn": ("headrace/api/rest/server.py", "headrace/api/rest/protocol.py", "headrace/api/rest/sending.py"),
    "uvloop": ("headrace/app.py", "headrace/engine_process.py"),
}
"""Where each library may be imported; it can be replaced by changing these files only."""

COMES_WITH: Final = {
    "backports": "backports_zstd",
    "compression": "backports_zstd",
    "argon2": "argon2_cffi",
    "botocore": "boto3",
    "cryptography": "pyjwt",
    "google": "protobuf",
    "grpc": "grpcio",
    "grpc_health": "grpcio_health_checking",
    "grpc_reflection": "grpcio_reflection",
    "jwt": "pyjwt",
    "opentelemetry": "opentelemetry_sdk",
    "requests": "opentelemetry_exporter_otlp_proto_http",
    "starlette": "fastapi",
}
"""Libraries that are called otherwise than what is asked for, or come with what is written for them."""


def layer_violations(tree: Tree) -> list[str]:
    """Imports that point outward, and files that belong to no layer."""
    homeless = [
        f"{path} belongs to no layer; add it to LAYERS" for path in tree if _part(module_name(path)) not in LAYERS
    ]
    found = [found for found in imports(tree) if found.library == PACKAGE]
    return homeless + [f"{one}, which its layer may not" for one in found if not _is_allowed(one)]


def home_violations(tree: Tree) -> list[str]:
    """Libraries that are imported away from home, or have no home."""
    known = stdlib_module_names | {PACKAGE}
    found = [found for found in imports(tree) if found.library not in known]
    return [
        f"{one}; its home is {', '.join(HOMES.get(one.library, ('nowhere',)))}"
        for one in found
        if not any(fnmatch(one.path, home) for home in HOMES.get(one.library, ()))
    ]


def cycle_violations(tree: Tree) -> list[str]:
    """Modules that import each other in a circle, also if a function or a type annotation hides it."""
    return [f"import cycle: {' <-> '.join(group)}" for group in cycles(tree)]


def _is_allowed(found: Import) -> bool:
    part = _part(found.source)
    if found.is_lazy and (found.path, _part(found.target)) in _LAZY:
        return True
    if found.is_typing and (part, _part(found.target)) in _TYPES:
        return True
    target = found.target.removeprefix(f"{PACKAGE}.")
    return any(_is_within(target, allowed) for allowed in LAYERS.get(part, ()))


def _is_within(module: str, part: str) -> bool:
    # The package itself is a file, not all that is below it.
    return module == part or (part != PACKAGE and module.startswith(f"{part}."))


def _part(module: str) -> str:
    return module.removeprefix(f"{PACKAGE}.").partition(".")[0]
