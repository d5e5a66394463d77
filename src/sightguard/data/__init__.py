"""Samples and pictures from files; nothing here imports torch."""
