"""Metrics with their intervals, figures, explanations and the report.

Nothing here knows a task, a network or a file format: numbers and pictures come in, numbers,
drawings and one HTML file go out.
"""
