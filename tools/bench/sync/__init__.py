"""Measures whole syncs, on the emulated AWS and against a fake GoPro Cloud: `make bench-sync`."""
