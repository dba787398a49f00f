"""Intervals, ranking, neighbours: arrays only."""
