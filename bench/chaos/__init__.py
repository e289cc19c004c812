"""Breaks what is served on purpose, and says whether the promises hold: a count of faults, and exit code 1 if not."""
