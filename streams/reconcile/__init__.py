"""Reconciliation: the ledger, the payout commands and a provider's statement, held together."""
