"""`python -m fmnist` is `fmnist`."""

from fmnist.cli import main

main()
