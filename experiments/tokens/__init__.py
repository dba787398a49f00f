"""Tokens: image models that predict picture tokens one after the other, and what they keep."""
