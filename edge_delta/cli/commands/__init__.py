"""One thin module per command: its help, its flags, and the call of what does the work."""
