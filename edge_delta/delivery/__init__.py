"""The run, and what becomes of a batch."""
