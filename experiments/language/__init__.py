"""Language: small language models on planted texts, and a real one."""
