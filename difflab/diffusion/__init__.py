"""A Stable-Diffusion-style pipeline: built small, trained, sampled, and compared with its training pictures."""
