"""Comparison of our networks with their canonical implementations."""
