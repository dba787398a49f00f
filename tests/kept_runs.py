"""The runs of the record, read once for all files of tests that ask them something."""

from difflab.runs.record import recorded

RECORD = recorded()
