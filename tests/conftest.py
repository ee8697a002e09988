"""Hypothesis profiles: "fast" for every day, "thorough" for the slow tier."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

# A failure in CI must fail again on the next run and on every machine: examples are derived from
# the test itself, and none are remembered between runs.
settings.register_profile(
    "fast",
    max_examples=15,
    derandomize=True,
    database=None,
    deadline=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "thorough", settings.get_profile("fast"), max_examples=100, derandomize=False
)
settings.load_profile(os.environ.get("CAUCE_HYPOTHESIS", "fast"))
