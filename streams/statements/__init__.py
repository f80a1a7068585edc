"""Statements: what the journal says of a seller's accounts, or the house's, over a time."""
