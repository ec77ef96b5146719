"""The metrics, one group a file."""
