"""Dispatch in this process: who hears what, in which order."""
