"""Pictures as sequences of tokens under a causal transformer."""
