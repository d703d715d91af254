"""Run the command line from a checkout: `python cli.py --help`."""

from scaling_laws.interface.cli import main

if __name__ == "__main__":  # worker processes of a sweep import this file again
    raise SystemExit(main())
