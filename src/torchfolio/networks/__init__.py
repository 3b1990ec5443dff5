"""The networks, one paper a file, and the catalogue of their cards."""
