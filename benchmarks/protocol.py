"""How the benchmarks measure: as ``cauce bench`` does, see ``cauce/measuring.py``.

The text of that file is run here, not imported with the package: ``revisions.py`` measures the
cauce of another checkout, which must not have been imported from this one.
"""

from pathlib import Path

_FILE = Path(__file__).resolve().parents[1] / "cauce" / "measuring.py"
exec(compile(_FILE.read_text(encoding="utf-8"), str(_FILE), "exec"), globals())
