"""Edge: exact theory and small denoisers on data of a known law."""
