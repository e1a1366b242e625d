"""Measures the transfer beside other tools for the same job: `make bench`."""
