"""Logs and metrics. Observers watch, they do not act."""
