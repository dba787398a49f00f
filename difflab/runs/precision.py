"""Theory in float64, whoever starts a run and however: training asks for float32 where it wants it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_VARIABLE = "JAX_ENABLE_X64"


@contextmanager
def double_precision() -> Iterator[None]:
    """Within the context jax computes in float64, here and in processes started here; its setting comes back after.

    jax is not imported for that: where it is not yet, it will read the variable.
    """
    variable, jax = os.environ.get(_VARIABLE), sys.modules.get("jax")
    setting = None if jax is None else bool(jax.config.jax_enable_x64)
    os.environ[_VARIABLE] = "1"
    if jax is not None:
        jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        if variable is None:
            del os.environ[_VARIABLE]
        else:
            os.environ[_VARIABLE] = variable
        jax = sys.modules.get("jax")
        if jax is not None:
            # Imported within the context, it read the variable of the context.
            jax.config.update("jax_enable_x64", variable in ("1", "true", "True") if setting is None else setting)
