"""One static page of a run: `python -m lib.run.report street`; see `page` (what it holds) and `__main__`."""
