"""The one client of GoPro's API. It has no public documentation: facts are those seen by many independent clients."""
