"""Figures of the experiments on small denoisers, drawn from their rows."""
