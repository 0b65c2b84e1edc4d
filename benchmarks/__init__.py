"""Benchmarks: what edge-delta costs beside other ways of doing the same."""
