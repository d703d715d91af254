"""Run the command line from a checkout: `python cli.py --help`."""

from scaling_laws.cli import main

raise SystemExit(main())
