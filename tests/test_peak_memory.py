"""What memory a run says that it held."""

import subprocess
import sys

from difflab.runs.peak_memory import peak_memory


def test_the_largest_of_all_workers_that_have_ended_counts():
    mine = peak_memory()["process"]
    assert 20 < mine < 2**16
    for mebibytes in (400, 10):
        subprocess.run([sys.executable, "-S", "-c", f"x = b'1' * ({mebibytes} * 2**20)"], check=True)
    found = peak_memory()
    assert found["largest_worker"] >= 400 and found["process"] >= mine
