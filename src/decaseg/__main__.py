"""`python -m decaseg` is the same as `decaseg`."""

from decaseg.cli import main

if __name__ == "__main__":
    main()
