"""What all tests share: the private worlds, and how hypothesis works here."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.support.sandbox"]

# The same examples in each run: a failure found once is found again. FUZZ_EXAMPLES=10000 looks further.
settings.register_profile("podling", deadline=None, derandomize="FUZZ_EXAMPLES" not in os.environ,
                          max_examples=int(os.environ.get("FUZZ_EXAMPLES", "100")),
                          suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("podling")
