"""Where envelopes lie: the contract, the port in front of it, and one module per kind of store."""
