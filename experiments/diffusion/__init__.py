"""Diffusion: a small Stable Diffusion with planted memorization."""
