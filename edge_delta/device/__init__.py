"""What this device keeps and shows of itself: state, health, metrics, signals."""
