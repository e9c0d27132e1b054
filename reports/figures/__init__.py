"""Drawings of stored measurements: one look, readable in print and without colour."""
