"""`python -m sightguard` is the command `sightguard`."""

from sightguard.cli import main

if __name__ == "__main__":
    main()
