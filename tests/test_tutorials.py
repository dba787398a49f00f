"""The tutorials run as they stand, and what they print is what they tell."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TUTORIALS = ROOT / "docs" / "tutorials"

pytestmark = pytest.mark.slow  # half a minute to a minute each


def printed(name, folder):
    """What a tutorial prints, run in a folder of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    answer = subprocess.run(
        [sys.executable, TUTORIALS / f"{name}.py"], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    return answer.stdout


def number(pattern, text):
    """The one number that stands where the pattern has its group."""
    (found,) = re.findall(pattern, text)
    return float(found)


def test_the_audit_finds_copies_and_keeps_its_result(tmp_path):
    text = printed("audit_a_pipeline", tmp_path)
    assert number(r"64 and more +([\d.]+)", text) > 0.5
    assert number(r" once +([\d.]+)", text) == 0
    assert 0 < number(r"threshold of likeness: ([\d.]+)", text) < 1
    assert "did not hold: no caption draws a copy with any seed" in text
    assert "arXiv:2507.16880" in text
    (kept,) = tmp_path.glob("results/pipeline_audited/*/meta.json")
    assert kept.is_file()


def test_the_crossover_happens_near_its_prediction(tmp_path):
    text = printed("predict_a_crossover", tmp_path)
    low, high = (number(rf"closed form, C = {c}: ([\d.]+) of N", text) for c in (1, 2))
    exact = number(r"predicted by exact losses: ([\d.]+) of N", text)
    assert low < exact < high
    assert abs(number(r"found: half of the samples are copies at ([\d.]+)", text) - exact) < 0.15
    shares = [float(share) for share in re.findall(r"M/N = [\d.]+: +(\d+)% of the samples", text)]
    assert shares == sorted(shares) and shares[0] < 10 and shares[-1] > 90


def test_the_defense_stops_prompts_and_not_the_search(tmp_path):
    text = printed("write_a_defense", tmp_path)
    before = number(r"without the defense: (\d+)%", text)
    behind, searched = number(r"with the defense: (\d+)%", text), number(r"\nafter 10 steps of search: (\d+)%", text)
    assert behind < 50 <= min(before, searched)
    assert number(r"never seen, after 10 steps of search: (\d+)%", text) == 0
    assert "did not hold: it holds at every budget" in text


def test_the_clip_tells_what_its_captions_leave_out(tmp_path):
    text = printed("test_a_clip", tmp_path)
    assert number(r"hidden AUC, target: ([\d.]+)", text) > 0.55 > number(r"hidden AUC, second model: ([\d.]+)", text)
    assert "held: of objects that no word names the model reveals more than second model" in text


def test_a_language_model_writes_what_it_saw_often_and_no_twin(tmp_path):
    text = printed("extract_from_a_language_model", tmp_path)
    assert number(r"\n +seen +10 +([\d.]+)", text) > 0.3
    assert number(r"unseen +10 +([\d.]+)", text) < 0.1
    assert number(r"\n +loss +([\d.]+)", text) > 0.95 and number(r"blind +([\d.]+)", text) < 0.75
    assert "did not hold: no seen text is continued word for word" in text
