"""``python -m torchfolio`` is ``folio``."""

from torchfolio.cli import main

if __name__ == "__main__":
    main()
