"""The servers that are compared: a TOML file for each, and the small programs that some of them need.

The TOML files are meant to be read: every option that was set is there with its reason.
"""
