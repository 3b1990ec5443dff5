"""Trained networks in other formats: written, checked, and answering without the run."""
