"""Benchmark scenarios, one file a group."""
