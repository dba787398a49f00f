"""Exact mathematics of denoising: schedules, mixtures, losses and where they cross. No training here."""
