"""HTML pages that stand alone: no server, no network, no foreign script."""
