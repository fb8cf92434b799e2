"""Events and jobs as typed JSON, and back (`docs/reference/wire-format.md`)."""
