"""Notices to the company: signed webhooks about payouts and credit, tried again for three days.

They are kept in Redis until they are delivered, apart from the wallets; the topics that they come
from are what counts.
"""
