"""What a test needs of the machine."""

import pytest

from headrace.engine.plan import precisions
from headrace.machine import read_machine

native = pytest.mark.skipif(
    not precisions("native", read_machine()), reason="this processor has no AVX-512 with bfloat16 and VNNI"
)
