"""Runs every benchmark: `python -m benchmarks`."""

from benchmarks.steering import main

main()
