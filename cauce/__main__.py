"""``python -m cauce``: the command line."""

from .commands.main import main

raise SystemExit(main())
