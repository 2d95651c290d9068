"""`python -m hard`: the same as the script `hard`."""

from hard.cli import main

if __name__ == "__main__":
    main()
