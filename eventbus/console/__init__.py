"""The `eventbus` command: who listens to what, and what became of failed jobs."""
