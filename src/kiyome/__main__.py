"""So that ``python -m kiyome`` is ``kiyome``."""

from kiyome.cli import main

main()
