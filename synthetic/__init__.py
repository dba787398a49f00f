"""Data we can draw at will, and the small denoisers trained on it."""
