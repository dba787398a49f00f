"""What a run is, where it is kept, how it is shown, and who computes it."""
