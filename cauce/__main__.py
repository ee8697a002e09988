"""``python -m cauce``: the command line."""

from .cli import main

raise SystemExit(main())
