"""Variants of a model that take less time or room, measured beside the original, and let in or refused."""
