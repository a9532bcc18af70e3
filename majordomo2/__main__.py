"""`python -m majordomo2`."""

from ._cli import main

main()
