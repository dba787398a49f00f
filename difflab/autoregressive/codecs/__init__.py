"""Codecs: what is no text as tokens, and back."""
