"""Raw jobs: JSON that is pushed and claimed by hand, and belongs to no listener."""
