"""What every part speaks in: values, errors, events, tries."""
