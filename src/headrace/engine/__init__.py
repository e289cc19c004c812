"""How a model runs: texts in, arrays out. Nothing here knows what a task means."""
