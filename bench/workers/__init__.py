"""Programs that run in the environment of the library they measure.

They may import the standard library, that environment's libraries, and each other: nothing else that the
repository needs is installed there.
"""
