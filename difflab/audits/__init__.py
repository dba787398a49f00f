"""What one call does for a model: rows in memory or on disk."""
