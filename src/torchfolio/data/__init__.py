"""Data: readers, checks, splits, transforms and the feed of batches."""
