"""Figures of rows about Stable Diffusion, one idea a file."""
