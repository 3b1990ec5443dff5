"""Sphinx's settings: Markdown by MyST, the Furo theme, nothing fetched from a network."""

from importlib.metadata import version as installed

project = "Torchfolio"
author = "The Torchfolio authors"
copyright = author
release = version = installed("torchfolio")

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_heading_anchors = 3  # headings can be linked to by their text

# Translations: sphinx-intl keeps one catalogue a page below locale/<language>/LC_MESSAGES.
language = "en"
locale_dirs = ["locale"]
gettext_compact = False
gettext_uuid = False

html_theme = "furo"
html_title = f"Torchfolio {release}"
html_copy_source = False
html_show_sphinx = False
