"""The one client of GoPro's API, which has no public documentation."""
