"""``python -m streams.cli`` is the ``payouts`` command."""

from streams.cli import main

main()
