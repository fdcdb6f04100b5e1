"""The command line: one file a command; each reads its arguments, calls a job and prints the answer."""

from whycell.cli.app import main

__all__ = ["main"]
