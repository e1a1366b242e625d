"""Load tests: does the cost per medium stay constant, and is any medium lost? `make load` measures and judges both."""
