"""How hypothesis chooses examples: the same ones in every run, however busy the machine is."""

from hypothesis import HealthCheck, settings

SAME = settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
