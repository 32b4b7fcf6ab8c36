"""No test fails for being slow: machines are shared, and speed is measured in notebook 10."""

from hypothesis import settings

settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")
