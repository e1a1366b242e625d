"""Typical Python programs for this job. They run in `.bench/venv` and share only the stop-watch with our code."""
