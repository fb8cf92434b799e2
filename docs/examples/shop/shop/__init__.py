"""A small shop: orders come in from a file, and several parts of it react."""
