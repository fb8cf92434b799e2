"""What a queued job is, and its rules; knows no server."""
