"""Benchmark of the transfer against other tools for the same job: `make bench`."""
