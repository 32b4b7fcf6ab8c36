"""Runs of the chain: `python -m lib.run params/street`; see `chain` (execution) and `notebooks` (what is committed)."""
