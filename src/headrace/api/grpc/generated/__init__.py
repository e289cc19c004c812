"""Made by scripts/protos.py from proto/: change the contracts, then run `make protos`."""
