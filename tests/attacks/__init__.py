"""Attacks on displaced places, as code that can be imported, and what they come to."""
