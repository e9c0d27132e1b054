"""Benchmark scenarios: six groups, sixteen scenarios, one file a group.

They announce themselves in the entry-point group `hpt.scenarios`. What a scenario measures is imported in its set-up,
so that listing the scenarios imports no torch, and a scenario that needs none never does.
"""
