"""What the program of an engine process must have done before it loads anything."""

import subprocess
import sys

PROGRAM = """
import headrace.engine_process
import os, numpy
numpy.ones((500, 500)) @ numpy.ones((500, 500))
print(len(os.listdir("/proc/self/task")))
"""


def test_numpy_starts_no_threads_beside_those_of_the_plan():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
