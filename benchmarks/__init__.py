"""Benchmarks: the same job on stock Faust, on a bare loop and by the product, side by side."""
