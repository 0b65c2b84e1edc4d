"""A whole fleet at a glance, out of its tables' logs and heartbeats alone."""
