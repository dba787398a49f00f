"""Questions, one file each. An experiment is a docstring, Config, SMOKE, run, claims and figures."""
