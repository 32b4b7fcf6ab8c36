"""What this machine has and lacks: `python -m lib.run.doctor`; see `__main__` for the parts of the report.

`__main__`, `report`, `versions` and `machine` need neither a package nor a new Python: they say what is missing.
"""
