"""Benchmarks: `python -m benchmarks.NAME [--quick] [--json]`. Each prints a table, none asserts."""
