"""Runs, judges, statistics and the overlap check; nothing here imports torch."""
