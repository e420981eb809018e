"""`python -m loop`, for where the `prefloop` script is not on the path."""

from loop.cli import main

if __name__ == "__main__":
    main()
