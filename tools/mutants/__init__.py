"""Mutants of the services' decisions, and whether the unit tests notice them. `make mutants` runs them."""
