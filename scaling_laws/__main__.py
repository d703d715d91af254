"""The entry point of the command line, also as `python -m scaling_laws`."""

import sys

__all__ = ["main"]


def main() -> int:
    """Run the command line; Ctrl-C ends it without a traceback even while it is imported."""
    try:
        from scaling_laws.interface import main as run
    except KeyboardInterrupt:
        sys.stderr.write("scaling-laws: interrupted\n")
        return 130
    return run()


if __name__ == "__main__":
    sys.exit(main())
