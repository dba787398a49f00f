"""Learning rates of a step, counted from 0, in so many steps; `rate` is the highest one."""

import math


def constant(step: int, steps: int, rate: float) -> float:
    """The rate at every step, so that a training stopped early is a shorter training."""
    return rate


def cosine(step: int | float, steps: int | float, rate: float) -> float:
    """Down from the rate to 0 after the last step, along half a cosine."""
    return rate * 0.5 * (1 + math.cos(math.pi * (step / steps)))


def warmup_cosine(step: int, steps: int, rate: float, warmup: int) -> float:
    """Up along a line to the rate at step warmup - 1, then `cosine` over the steps that are left."""
    if step < warmup:
        return rate * (step + 1) / warmup
    return cosine(step - warmup, steps - warmup, rate)


def warmup_constant(step: int, steps: int, rate: float, warmup: int) -> float:
    """Up along a line to the rate at step warmup - 1, then `constant`."""
    return min(rate, rate * (step + 1) / max(1, warmup))


def warmed_cosine(step: int, steps: int, rate: float, warmup: int) -> float:
    """`cosine` over all steps, times a line that is 1 from step warmup - 1 on."""
    return rate * min(1.0, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * step / steps))


def one_cycle(step: int, steps: int, rate: float) -> float:
    """Up along a line from 4 % of the rate for a tenth of the steps, then `cosine` over the rest."""
    rise = steps / 10
    if step < rise:
        return rate * (0.04 + 0.96 * step / rise)
    return cosine(step - rise, steps - rise, rate)


def linear_one_cycle(step: int, steps: int, rate: float) -> float:
    """Up along a line for a tenth of the steps, then down along another that is 0 after the last step."""
    rise = steps / 10
    return rate * min((step + 1) / rise, (steps - step) / (steps - rise), 1.0)
