"""What random networks hold and which rules they fire: ``python -m tests.coverage_report``.

An argument is the number of networks for each op and rule.
"""

from __future__ import annotations

import sys

from .passes.survey import survey, table

if __name__ == "__main__":
    print(table(survey(int(sys.argv[1]) if len(sys.argv) > 1 else 3)))
