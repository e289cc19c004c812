"""Learns models from labelled data: one file for each recipe, to be read from top to bottom."""
