"""Versions of models in a bucket: pushed there from one store, pulled from there into others."""
