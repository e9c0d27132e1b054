"""`python -m hpt`, also from a checkout in which nothing was installed yet."""

import sys

try:
    from hpt.cli.main import main
except ModuleNotFoundError as error:
    sys.exit(f"hpt: {error.name} is not installed; run scripts/hpt, which installs all that hpt needs")

if __name__ == "__main__":
    main()
