"""What can be proved without running anything, with its figures: `make static`."""
