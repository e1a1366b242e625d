"""Proofs that need no execution, with their figures: `make static`."""
