"""Named arrays as the bytes of one safetensors file, which come back in the order in which they were given.

Safetensors sorts what it stores; rows and figures follow the order, and are to be the same from memory and from disk.
"""

import json
from collections.abc import Mapping

import numpy as np
import safetensors.numpy
from jaxtyping import Shaped

_ORDER = "order"


def packed(arrays: Mapping[str, Shaped[np.ndarray, "..."]]) -> bytes:
    """Bytes of a safetensors file.

    Args:
        arrays: numbers and truth values, of any shape.
    """
    # Safetensors stores memory as it lies; np.ascontiguousarray would turn () into (1,).
    lying = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    return safetensors.numpy.save(lying, {_ORDER: json.dumps(list(lying))})


def unpacked(data: bytes) -> dict[str, np.ndarray]:
    """Arrays of a safetensors file, those of a file that tells no order as safetensors has them.

    Raises:
        SafetensorError, ValueError, KeyError: the bytes are damaged.
    """
    found = safetensors.numpy.load(data)
    length = int.from_bytes(data[:8], "little")
    told = json.loads(data[8 : 8 + length]).get("__metadata__", {}).get(_ORDER)
    return found if told is None else {name: found[name] for name in json.loads(told)}
