"""How well engines rank, by protocol, and which of them serves."""
