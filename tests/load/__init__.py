"""Many media: does each cost the same, however many there are, and is none lost? `make load` measures and judges it."""
