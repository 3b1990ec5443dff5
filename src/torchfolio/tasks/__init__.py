"""Tasks: how records become batches, batches steps, and outputs predictions and metrics."""
