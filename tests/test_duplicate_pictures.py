"""Pictures that stand there several times: what is planted and written down, and what rows say of it."""

from dataclasses import replace

import numpy as np
import pytest
from conformance import says_one_sentence

from difflab.audits.duplicate_pictures import EMOJI, SCENES, PictureWorld, picture_rows, recorded_pictures
from difflab.runs.rows import check_row, select
from difflab.statistics.cartography import DROP, FINAL, FORGOTTEN

WORLD = PictureWorld(items=5, copies=2, once=6, steps=14, batch=8, autoencoder_steps=2, probes=1)


class Kept(dict):
    """Checkpoints in memory."""

    def load(self, name):
        return {key: value.copy() for key, value in self[name].items()} if name in self else None

    def save(self, name, arrays):
        self[name] = {key: np.array(value) for key, value in arrays.items()}


def test_a_pipeline_is_trained_and_every_picture_written_down():
    found = recorded_pictures(WORLD, Kept())
    assert found["copies"].tolist().count(2) == 10 and found["copies"].tolist().count(1) == 12
    assert found["emoji"].sum() == 5 + 6
    # 14 steps of 8 rows show 32 rows 3 times.
    assert found["losses"].shape == (3, 22) and np.isfinite(found["losses"]).all()
    assert len(found["seen"]) == 22
    np.testing.assert_array_equal(recorded_pictures(WORLD, Kept())["losses"], found["losses"])
    other = recorded_pictures(replace(WORLD, seed=1), Kept())
    assert not np.array_equal(other["losses"], found["losses"])


def _told(seed):
    """Copies end low; emoji that are copies fall far, too; nothing is forgotten."""
    random = np.random.default_rng(seed)
    copies, emoji = np.array([3, 1] * 20), np.array([False] * 20 + [True] * 20)
    end = np.where(copies > 1, 0.1, 0.5) + 0.1 * random.random(40)
    begin = np.where(emoji & (copies > 1), 3.0, 1.0) * np.where(~emoji & (copies > 1), 0.6, 1.0) + 0.01 * random.random(
        40
    )
    losses = begin + (end - begin) * np.linspace(0, 1, 5)[:, None]
    return {"losses": losses, "copies": copies, "emoji": emoji, "seen": random.normal(size=(40, 4))}


def test_rows_are_of_pictures_of_one_source():
    told = [_told(seed) for seed in range(3)]
    rows = [check_row(row) for row in picture_rows(told, range(3))]
    for kind in (SCENES, EMOJI):
        assert select(rows, "auc", signal=FINAL, kind=kind)[0].value == 1.0
        assert select(rows, "auc", signal=FORGOTTEN, kind=kind)[0].value == 0.5
        assert len(select(rows, "control_auc", kind=kind)) == 5 and len(select(rows, "blind_auc", kind=kind)) == 1
        expected = []
        for one in told:
            here = one["emoji"] == (kind == EMOJI)
            drop = (one["losses"][0] - one["losses"][-1])[here]
            copy = one["copies"][here] > 1
            expected.append(np.mean([(a > b) + 0.5 * (a == b) for a in drop[copy] for b in drop[~copy]]))
        assert select(rows, "auc", signal=DROP, kind=kind)[0].value == pytest.approx(np.mean(expected))
    rates = select(rows, "true_positive_fraction", signal=FINAL)
    assert [row.value for row in rows if row in rates] == [1.0, 1.0] and rates[0].n == 30


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"items": 4}, "items is 4"),
        ({"copies": 1}, "copies is 1"),
        ({"probes": 0}, "probes is 0"),
        ({"steps": 7}, "7 steps show 32 rows less than twice"),
    ],
)
def test_mistakes_are_one_sentence(change, said):
    assert said in says_one_sentence(lambda: replace(WORLD, **change))
