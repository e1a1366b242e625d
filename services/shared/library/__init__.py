"""What is stored: the records of the library table, and the keys and metadata of the objects in the media bucket."""
