"""Endurance: trainings killed, starved of disk space and damaged must end as one left alone."""
