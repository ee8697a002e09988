"""Well-known networks, written in the DSL; :mod:`cauce.models` names them all."""
