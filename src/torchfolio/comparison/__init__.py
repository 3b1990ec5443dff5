"""Runs side by side: figures, cost, and whether their differences are more than chance."""
