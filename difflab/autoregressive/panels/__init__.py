"""Figures of language models."""
