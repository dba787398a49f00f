"""Objectives: what a language model lowers while it learns or forgets, one file each."""
