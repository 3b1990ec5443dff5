"""Object detection: boxes and classes of what is in a picture."""
