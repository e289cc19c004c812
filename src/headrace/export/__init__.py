"""From a checkpoint to a gated model folder in the store."""
