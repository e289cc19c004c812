"""Benchmarks: Headrace beside other ways to run the same model, on the machine in front of you.

`python -m bench --help` lists what can be run; bench/README.md says how it is measured, and why so.
"""
