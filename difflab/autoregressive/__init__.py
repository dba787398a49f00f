"""Causal language models: loading, training, likelihood and decoding of whole lists of texts."""
