"""Going back, rows once more, and whether all arrived."""
