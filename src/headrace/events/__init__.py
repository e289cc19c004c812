"""Events: others are told what happens while it does, best effort."""
