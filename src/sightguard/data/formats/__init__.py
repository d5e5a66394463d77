"""Readers for the layouts in which benchmarks are published, one file each."""
