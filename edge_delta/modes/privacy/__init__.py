"""Places that do not leave the device as they are."""
