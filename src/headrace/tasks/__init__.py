"""What a task means: pure functions, no I/O."""
