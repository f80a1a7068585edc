"""The template for a connector: a provider that does not exist, with all that a connector has.

Copy this folder; ``docs/adding-a-rail.md`` goes through it. No registry names it but the tests'.
"""
