"""Results as files and pictures."""
