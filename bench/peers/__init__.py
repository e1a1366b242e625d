"""What people write in Python for this job. These run in `.bench/venv`, with nothing of ours but the stop-watch."""
