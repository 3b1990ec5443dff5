"""Training: the loop, optimizers, schedules, precision, and exact resume."""
