"""`python -m vidcomp`: the command line, where its script is not on the path."""

from vidcomp.cli import main

main()
