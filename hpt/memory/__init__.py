"""Measuring and managing memory."""
