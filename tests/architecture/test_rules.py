"""The rules catch what they are for: each is run on trees with a planted violation, and on trees without."""

from collections.abc import Mapping

import pytest
from tests.architecture.graph import imports
from tests.architecture.test_source import RULES

DOC = '"""A module."""\n'
LONG = "    total = 0\n" * 40
SEVEN = "one, two, three, four, five, six, seven"

CAUGHT: list[tuple[str, Mapping[str, str]]] = [
    ("layers", {"headrace/errors.py": "import headrace.types", "headrace/types.py": ""}),
    ("layers", {"headrace/cache/memory.py": "from headrace import service", "headrace/service.py": ""}),
    ("layers", {"headrace/cache/memory.py": "from .. import service", "headrace/service.py": ""}),
    ("layers", {"headrace/cache/memory.py": "from ..limits.memory import MemoryLimiter"}),
    ("layers", {"headrace/service.py": "from headrace.cache.memory import X", "headrace/cache/memory.py": ""}),
    ("layers", {"headrace/app.py": "from headrace.cli import main", "headrace/cli/main.py": ""}),
    ("layers", {"headrace/app.py": "def f():\n    import headrace.export", "headrace/export/__init__.py": ""}),
    ("layers", {"headrace/cli/import_.py": "import headrace.export.graph", "headrace/export/graph.py": ""}),
    ("layers", {"headrace/cli/serve.py": "def f():\n    import headrace.export", "headrace/export/__init__.py": ""}),
    ("layers", {"headrace/cli/serve.py": "import headrace.service", "headrace/service.py": ""}),
    ("layers", {"headrace/engine/onnx.py": "import importlib\nimportlib.import_module('headrace.app')"}),
    ("layers", {"headrace/tasks/embed.py": "if TYPE_CHECKING:\n    from headrace.engine import base"}),
    ("layers", {"headrace/cache/layered.py": "from .memory import MemoryCache", "headrace/cache/memory.py": ""}),
    ("layers", {"headrace/plumbing.py": ""}),
    ("homes", {"headrace/service.py": "import onnxruntime"}),
    ("homes", {"headrace/app.py": "def f():\n    from torch import nn"}),
    ("homes", {"headrace/cli/serve.py": "from fastapi.routing import APIRoute"}),
    ("homes", {"headrace/api/rest/app.py": "import prometheus_client"}),
    ("homes", {"headrace/cache/redis.py": "import redis"}),
    ("cycles", {"headrace/a.py": "import headrace.b", "headrace/b.py": "def f():\n    from headrace import a"}),
    (
        "cycles",
        {
            "headrace/a.py": "import headrace.b",
            "headrace/b.py": "import headrace.c",
            "headrace/c.py": "from . import a",
        },
    ),
    ("sizes", {"headrace/a.py": "x = 1\n" * 401}),
    ("sizes", {"headrace/a.py": f"def f():\n{LONG}"}),
    ("sizes", {"headrace/a.py": f"async def f({SEVEN}): ..."}),
    ("sizes", {"headrace/a.py": "class A:\n    def f(self, a, *, b, c, d, e, f, **more): ..."}),
    ("sizes", {"headrace/a.py": "class A:\n    def f(self, a, *b, c, d, e, f, g): ..."}),
    ("sizes", {"headrace/cli/serve.py": f"def f({SEVEN}): ..."}),
    ("environment", {"headrace/app.py": "import os\nport = os.environ['PORT']"}),
    ("environment", {"headrace/app.py": "from os import getenv"}),
    ("environment", {"headrace/app.py": "import os\nos.getenv('PORT')"}),
    ("broad_except", {"headrace/a.py": "try:\n    f()\nexcept Exception:\n    pass"}),
    ("broad_except", {"headrace/a.py": "try:\n    f()\nexcept Exception:  # noqa: BLE001\n    pass"}),
    ("broad_except", {"headrace/a.py": "try:\n    f()\nexcept:\n    pass"}),
    (
        "broad_except",
        {"headrace/a.py": "try:\n    f()\nexcept (OSError, BaseException) as error:\n    raise A from error"},
    ),
    ("file_names", {"headrace/cache/utils.py": ""}),
    ("file_names", {"headrace/core/engine.py": ""}),
    ("file_names", {"headrace/_helpers.py": ""}),
    ("unsafe", {"headrace/a.py": "import pickle"}),
    ("unsafe", {"headrace/a.py": "def f():\n    from marshal import loads"}),
    ("unsafe", {"headrace/a.py": "eval('1')"}),
    ("unsafe", {"headrace/a.py": "import yaml\nyaml.load(text)"}),
    ("unsafe", {"headrace/a.py": "import numpy as np\nnp.load(path, allow_pickle=True)"}),
    ("unsafe", {"headrace/export/a.py": "import torch\ntorch.load(path)"}),
    ("docstrings", {"headrace/a.py": "x = 1"}),
    ("docstrings", {"headrace/a.py": DOC + "def f(): ..."}),
    ("docstrings", {"headrace/a.py": DOC + "class A: ..."}),
    ("docstrings", {"headrace/a.py": DOC + 'class A:\n    """An A."""\n    async def f(self): ...'}),
    ("comparisons", {"headrace/auth/keys.py": "credentials.key == known"}),
    ("comparisons", {"headrace/auth/keys.py": "found = digest in known"}),
    ("comparisons", {"headrace/auth/tokens.py": "token[:4] != expected"}),
]

PASSED: list[tuple[str, Mapping[str, str]]] = [
    ("layers", {"headrace/cache/memory.py": "import os\nfrom headrace.errors import X", "headrace/errors.py": ""}),
    ("layers", {"headrace/adapters.py": "from headrace.cache.memory import X", "headrace/cache/memory.py": ""}),
    ("layers", {"headrace/service.py": "from headrace.cache import base", "headrace/cache/base.py": ""}),
    ("layers", {"headrace/cache/layered.py": "from .base import Cache", "headrace/cache/base.py": ""}),
    ("layers", {"headrace/cli/import_.py": "def f():\n    import headrace.export", "headrace/export/__init__.py": ""}),
    ("layers", {"headrace/cli/embed.py": "if TYPE_CHECKING:\n    import headrace.service", "headrace/service.py": ""}),
    ("homes", {"headrace/engine/onnx.py": "import json\nimport onnxruntime"}),
    ("homes", {"headrace/export/graph.py": "import torch.nn"}),
    ("cycles", {"headrace/a.py": "import headrace.b\nimport headrace.a", "headrace/b.py": "import json"}),
    ("sizes", {"headrace/a.py": "x = 1\n" * 400}),
    ("sizes", {"headrace/a.py": 'def f():\n    """One.\n\n    Two.\n    """\n' + LONG[:-14]}),
    ("sizes", {"headrace/a.py": "class A:\n    def f(self, a, b, c, d, e, f): ..."}),
    ("sizes", {"headrace/cli/serve.py": "def f(loaded, *, a, b, c, d, e, f, g): ..."}),
    ("environment", {"headrace/settings/sections.py": "import os\nport = os.environ['PORT']"}),
    ("environment", {"headrace/app.py": "import os\nfrom os import path\nos.path.join('a')\nmachine.environ"}),
    (
        "broad_except",
        {"headrace/a.py": "try:\n    f()\nexcept Exception:  # noqa: BLE001 - a plugin may raise anything\n    pass"},
    ),
    ("broad_except", {"headrace/a.py": "try:\n    f()\nexcept Exception:\n    # It raises plain Exception.\n    pass"}),
    ("broad_except", {"headrace/a.py": "try:\n    f()\nexcept BaseException:\n    clean()\n    raise"}),
    ("broad_except", {"headrace/a.py": "try:\n    f()\nexcept (OSError, ValueError):\n    pass"}),
    ("file_names", {"headrace/observe/common_names.py": ""}),
    ("unsafe", {"headrace/a.py": "import json\nmodel.eval()\njson.load(file)\nnp.load(path, allow_pickle=False)"}),
    ("docstrings", {"headrace/a.py": DOC + "def _f(): ...\nclass _A:\n    def f(self): ..."}),
    ("docstrings", {"headrace/a.py": DOC + 'class A:\n    """An A."""\n    @override\n    def f(self): ...'}),
    ("comparisons", {"headrace/auth/keys.py": "hmac.compare_digest(key, known)\nkey is None\nlen(name) == 4"}),
    ("comparisons", {"headrace/cache/base.py": "entry[:4] == key"}),
]


@pytest.mark.parametrize(("rule", "tree"), CAUGHT)
def test_a_planted_violation_is_caught(rule: str, tree: Mapping[str, str]) -> None:
    found = RULES[rule](tree)
    assert found
    assert all(
        any(path.removesuffix(".py").replace("/", ".") in line or path in line for path in tree) for line in found
    )


@pytest.mark.parametrize(("rule", "tree"), PASSED)
def test_a_clean_tree_passes(rule: str, tree: Mapping[str, str]) -> None:
    assert RULES[rule](tree) == []


@pytest.mark.parametrize("cases", [CAUGHT, PASSED], ids=["caught", "passed"])
def test_every_rule_is_tested(cases: list[tuple[str, Mapping[str, str]]]) -> None:
    assert {rule for rule, _ in cases} == set(RULES)


def test_an_import_says_where_it_stands() -> None:
    text = "import json\ndef f():\n    import torch\nif TYPE_CHECKING:\n    import numpy as np\nelse:\n    import re"
    found = [str(one) for one in imports({"headrace/a.py": text})]
    assert sorted(found) == [
        "headrace/a.py:1 imports json",
        "headrace/a.py:3 imports torch (in a function)",
        "headrace/a.py:5 imports numpy (for types only)",
        "headrace/a.py:7 imports re",
    ]
