"""Data families, one file each: a frozen dataclass that describes the data and a function that draws it."""
