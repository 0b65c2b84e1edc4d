"""What is wrong, and what would be written."""
