"""CLIP: small models on collages."""
