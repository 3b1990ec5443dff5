"""Volumes: medical images and stacks of pages, cut into slices."""
