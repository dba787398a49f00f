"""The shared kit of the lab: neighbours, intervals, rows, runs, figures, reports. No jax, no torch."""
