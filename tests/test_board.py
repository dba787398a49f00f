"""The board: what counts as a cure, its file and everything that can be wrong in one, and computing it once."""

import copy
import json
import re
from dataclasses import asdict, replace

import numpy as np
import pytest
from test_trained_worlds import FLAGS, PLAN, _killed_at, refused, two_worlds

import difflab
from difflab import methods
from difflab.audits import board_file, stress
from difflab.audits.board import SMOKE, Config, Entrant, Settings, claims, shares
from difflab.audits.board_file import document, mistakes, read, standard_error, write
from difflab.audits.board_page import page
from difflab.audits.board_rule import is_cured, is_cured_where_fair
from difflab.audits.worlds import OnWorld, open_world
from difflab.errors import InputError
from difflab.runs.result import Result
from difflab.runs.results import Run, finished_runs
from difflab.runs.rows import Row
from difflab.statistics.intervals import wilson
from experiments import __main__ as command_line

ATTACKS = (("nothing", 0, ""), ("dori", 50, ""), ("samplers", 0, "guidance 7.5"))
NAMES = ("nothing", "dori-50", "samplers-guidance_7.5")
N = 100


def test_cured_needs_both_conditions_under_every_attack():
    """Of 100 targets two may come back, under each attack and no more than on the oracle; one more breaks each."""
    oracle = dict(zip(NAMES, (0.0, 0.02, 0.5), strict=True))
    assert is_cured({"nothing": 0.0, "dori-50": 0.02, "samplers-guidance_7.5": 0.02}, oracle)
    assert not is_cured({"nothing": 0.01, "dori-50": 0.02, "samplers-guidance_7.5": 0.02}, oracle)
    assert not is_cured({"nothing": 0.0, "dori-50": 0.03, "samplers-guidance_7.5": 0.02}, {**oracle, "dori-50": 0.03})
    over = {"nothing": 0.0, "dori-50": 0.0, "samplers-guidance_7.5": 0.03}
    assert not is_cured(over, oracle) and is_cured_where_fair(over, oracle)
    assert not is_cured_where_fair({**over, "dori-50": 0.03}, oracle)
    # The fair attack's 2 % are not above the oracle's; a limit that is met exactly is met.
    assert is_cured_where_fair({**over, "dori-50": 0.02}, oracle)
    assert not is_cured({}, oracle) and not is_cured_where_fair(over, dict.fromkeys(NAMES, 1.0))


def _rows(defense, counts, target="repeated", n=N, state=None):
    for (attack, steps, variant), k in zip(ATTACKS, counts, strict=False):
        setting = {"defense": defense, "target": target, "attack": attack, "attack_steps": steps}
        yield Row("memorized_fraction", *wilson(k, n), n, setting | ({"variant": variant} if variant else {}))


def _board(oracle=(0, 0, 40), **defenses):
    """A board made by hand: of each defense how many of 100 targets come back under each attack."""
    rows = [*_rows("oracle", oracle), *_rows("undefended", (90,))]
    for name, counts in defenses.items():
        rows += [*_rows(name, counts), *_rows(name, (0, 0, 0), "never")]
        rows.append(Row("held_out_ratio", 1.02, 0.99, 1.05, 60, {"defense": name, "captions": "unrelated"}))
    entrants = tuple(Entrant(name, name, "0" * 64, ("0" * 12,)) for name in ("oracle", *defenses))
    config = asdict(Config(Settings(), entrants, ({"seed": 0, "model": "a", "oracle": "b"},)))
    meta = {"code_version": "1.0+abc", "seconds": 5.0, "packages": {}, "finished_at": "2026-01-01T00:00:00+00:00"}
    plain = json.loads(json.dumps(config))
    return Result("board", plain, rows, claims(rows), meta, {}, {})


@pytest.fixture(scope="module")
def handmade():
    return document(_board(good=(0, 0, 2), leaky=(0, 1, 2), weak=(60, 80, 90)))


def test_verdicts_of_a_board_follow_from_its_rows(handmade):
    told = {name: (one["cured,none"], one["cured_where_fair,none"]) for name, one in handmade["results"].items()}
    # The oracle gives back 40 % under one attack by itself, so that by the rule it is not cured either.
    assert told == {"oracle": (False, True), "good": (True, True), "leaky": (False, False), "weak": (False, False)}
    held = _board(good=(0, 0, 2), leaky=(0, 1, 2)).claims
    assert held["good is cured"] and not held["leaky is cured"]
    assert sum("2 of 3 attacks" in claim for claim in held) == 2
    assert next(iter(held)).startswith("without a defense") and next(iter(held.values()))


def test_the_file_has_the_harness_shape_and_comes_back(handmade, tmp_path):
    path = tmp_path / "board.json"
    assert write(_board(good=(0, 0, 2), leaky=(0, 1, 2), weak=(60, 80, 90)), path) == read(path) == handmade
    weak = handmade["results"]["weak"]
    assert weak["memorized_fraction,dori-50"] == 0.8 and weak["memorized_fraction_n,dori-50"] == N
    outcomes = np.repeat([1.0, 0.0], [80, 20])
    assert weak["memorized_fraction_stderr,dori-50"] == pytest.approx(outcomes.std(ddof=1) / 10)
    assert handmade["n-samples"]["weak"] == {"original": N, "effective": N}
    assert {"configs", "versions", "higher_is_better", "git_hash", "date", "config", "task_hashes"} <= handmade.keys()


def test_the_page_says_it_all(handmade):
    text = page(handmade)
    assert "good is a cure." in text and text.count(">not cured<") == 2 and text.count('held">cured<') == 1
    # Under the sampler the oracle itself gives back 40 %, so that the search is the worst that tells anything.
    assert re.search(r">weak</th>.{,300}<td>dori-50: 80 of 100</td>", text, re.S) and "90 of 100<br>" in text
    assert "Under 1 of the attacks the oracle itself" in text and "Without a defense 90 of 100" in text
    order = [text.index(f'<th scope="row">{name}') for name in ("oracle", "good", "leaky", "weak")]
    assert order == sorted(order)
    assert "No defense is a cure." in page(document(_board(weak=(60, 80, 90))))
    assert "<script" not in text and "http://" not in text


def _set(*keys, to):
    def change(found):
        for key in keys[:-1]:
            found = found[key]
        found[keys[-1]] = to

    return change


def _drop(*keys):
    def change(found):
        for key in keys[:-1]:
            found = found[key]
        del found[keys[-1]]

    return change


GOOD, DORI = ("results", "good"), "memorized_fraction,dori-50"
MUTATIONS = [
    *((_drop(key), f"{key} is missing") for key in board_file._KEYS),
    (_set("results", to=[]), "results is a list"),
    (_set("date", to=True), "date is a bool"),
    (_set("date", to=-1.0), "date is -1"),
    (_set("rule", to="Cured: at most 3 %."), "rule is not this version's"),
    (_drop("results", "oracle"), "results need oracle"),
    *((_drop(key, "good"), f"results and {key} do not both have good") for key in board_file._BY_TASK),
    (_set("results", "good", to=3), "keys are 'metric,filter'"),
    (_set(*GOOD, "accuracy", to=0.5), "keys are 'metric,filter'"),
    (_set(*GOOD, "accuracy,none", to=0.5), "there is no such metric"),
    (_set(*GOOD, "memorized_fraction_n,nowhere", to=3), "belongs to no number"),
    (_set(*GOOD, "cured,none", to=1), "true or false"),
    (_set(*GOOD, "cured,none", to=False), "cured,none is false, which does not follow"),
    (_set("results", "leaky", "cured_where_fair,none", to=True), "does not follow from its entries"),
    (_set(*GOOD, DORI, to=1.5), "1.5 is not in [0, 1]"),
    (_set(*GOOD, DORI, to=-0.1), "-0.1 is not in [0, 1]"),
    (_set(*GOOD, DORI, to="0"), "'0' is not in [0, 1]"),
    (_set(*GOOD, DORI, to=float("nan")), "nan is not in [0, 1]"),
    (_set(*GOOD, DORI, to=0.9), "is not in its interval"),
    (_set(*GOOD, DORI, to=0.015), "0.015 is no share of 100"),
    (_set(*GOOD, "memorized_fraction_high,dori-50", to=1.5), "leaves [0, 1]"),
    (_drop(*GOOD, "memorized_fraction_low,dori-50"), "is not in its interval [None"),
    (_set(*GOOD, "memorized_fraction_n,dori-50", to=50), "n is 50, but n-samples says 100"),
    (_set(*GOOD, "memorized_fraction_n,dori-50", to=0), "n is 0"),
    (_set(*GOOD, "memorized_fraction_stderr,dori-50", to=0.01), "stderr is 0.01; that of 0 of 100 is 0"),
    (_drop(*GOOD, "memorized_fraction_stderr,dori-50"), "stderr is None"),
    (_set(*GOOD, "held_out_ratio_stderr,unrelated", to=0.1), "stderr is 0.1; that of a ratio"),
    (_set(*GOOD, "held_out_ratio,unrelated", to=-1), "is not in [0, infinity]"),
    (_drop(*GOOD, DORI), "belongs to no number"),
    (_drop(*GOOD, "twin_fraction,dori-50"), "belongs to no number"),
    (_set("n-samples", "good", "effective", to=0), "original and effective are counts"),
    (_set("n-samples", "good", "original", to=50), "effective is above original"),
    (_set("versions", "good", to="1"), "versions: that of good is '1'"),
    (_set("higher_is_better", "good", "memorized_fraction", to=True), "better where it is lower"),
    (_set("configs", "good", "worlds", to=[]), "it needs worlds"),
    (_set("configs", "good", "runs", to=[]), "and a run for each"),
    (_drop("configs", "good", "worlds", 0, "oracle"), "a world has seed, model and oracle"),
    (_set("configs", "good", "defense", to="another"), "task_hashes: that of good"),
    (_set("notes", to=["never said"]), "checksum is not that"),
]


@pytest.mark.parametrize(("change", "said"), MUTATIONS, ids=[said for _, said in MUTATIONS])
def test_whatever_is_wrong_in_a_file_is_said_first(change, said, handmade, tmp_path):
    found = copy.deepcopy(handmade)
    change(found)
    assert said in next(mistakes(found))
    path = tmp_path / "board.json"
    path.write_text(json.dumps(found))
    with pytest.raises(InputError) as error:
        read(path)
    assert said in str(error.value) and str(error.value).endswith(".") and "\n" not in str(error.value)


def test_entries_of_another_attack_are_no_comparison(handmade):
    found = copy.deepcopy(handmade)
    for name in [key for key in found["results"]["good"] if key.endswith(",dori-50")]:
        del found["results"]["good"][name]
    assert "dori-50 was not tried on both good and the oracle" in next(mistakes(found))
    found = copy.deepcopy(handmade)
    for name in [key for key in found["results"]["good"] if re.fullmatch(r"twin_fraction.*,dori-50", key)]:
        del found["results"]["good"][name]
    assert "dori-50 was not tried on both targets and twins" in next(mistakes(found))


def test_check_is_a_command(handmade, tmp_path, capsys):
    path = tmp_path / "board.json"
    path.write_text(json.dumps(handmade))
    command_line.main(["board", "--check", str(path)])
    assert "holds together: 3 defenses and the oracle" in capsys.readouterr().out
    path.write_text(json.dumps(handmade | {"notes": [""]}))
    assert "is no board: checksum" in refused(capsys, "board", "--check", path)
    path.write_text(json.dumps(handmade | {"notes": ["\ud800"]}))
    assert "is no JSON" in refused(capsys, "board", "--check", path)
    path.write_text("{")
    assert "is no JSON" in refused(capsys, "board", "--check", path)
    assert "there is no file" in refused(capsys, "board", "--check", tmp_path / "gone.json")
    assert standard_error(0.5, 5) == 0.25


# Computed ------------------------------------------------------------------------------------------------------------

STRANGERS = '''"""Defense: nothing is changed, under a name of its own."""

from dataclasses import dataclass

from difflab.diffusion.defended import undefended


@dataclass(frozen=True)
class MyDefense:
    pass


def my_defense(pipeline, captions, unseen=(), seed=0, config=MyDefense()):
    return undefended(pipeline, captions)
'''
QUICK = asdict(SMOKE) | {"attacks": "quantized_weights", "worlds": 2, "defenses": "nothing"}
QUICK = {name: QUICK[name] for name in ("defenses", "attacks", "targets", "seeds", "steps", "held_out", "draws")}


@pytest.fixture(scope="module")
def worlds(once):
    return once("worlds", two_worlds) / "whole"


def _scored(worlds, out, **more):
    plan = {f"plan.{name}": value for name, value in asdict(PLAN).items()}
    return difflab.board(folder=worlds, out=out, retained=50, worlds=2, **plan, **(QUICK | more))


@pytest.fixture(scope="module")
def scored(worlds, tmp_path_factory):
    """A board that was interrupted after the third attack of the defense on the first world."""
    out = tmp_path_factory.mktemp("board")
    with pytest.MonkeyPatch.context() as patch:
        # Three attacks on the oracle of each of two worlds come first.
        patch.setattr(Run, "save", _killed_at(9))
        with pytest.raises(KeyboardInterrupt):
            _scored(worlds, out)
    saved = []
    with pytest.MonkeyPatch.context() as patch:
        plain = Run.save
        patch.setattr(Run, "save", lambda run, name, arrays: (saved.append(name), plain(run, name, arrays)))
        result = _scored(worlds, out)
    return result, out, saved


def test_a_stopped_board_does_nothing_twice(scored, worlds):
    result, _, saved = scored
    # Twice six attacks of the defense, of which three were there.
    assert len(saved) == 9
    again = _scored(worlds, None)
    assert again.folder is None and again.rows == result.rows and again.claims == result.claims


def test_a_defense_that_does_nothing_is_the_model_itself(scored):
    result, out, _ = scored
    plain = shares(result.rows, "undefended")["nothing"]
    assert plain.n == 4 and plain.value == shares(result.rows, "nothing")["nothing"].value
    assert {row.worlds_sd is not None for row in result.rows} == {True}
    assert {row.value for row in result.rows if row.metric == "held_out_ratio"} == {1.0}
    cases = [run for run in finished_runs(out, every=True)[0] if run.experiment == "board_case"]
    assert len(cases) == 4
    assert next(mistakes(document(result)), None) is None


def test_a_strangers_file_stands_beside_what_is_there(scored, worlds, tmp_path, capsys):
    _, out, _ = scored
    file = tmp_path / "my_defense.py"
    file.write_text(STRANGERS)
    plan = FLAGS[: next(i for i, word in enumerate(FLAGS) if word.startswith("--recipe"))]
    quick = [word for name, value in QUICK.items() for word in (f"--{name.replace('_', '-')}", value)]
    asked = ["board", "--add", file, "--folder", worlds, "--out", out, "--retained", 50, "--worlds", 2, "--workers", 1]
    command_line.main([*map(str, [*asked, *quick]), *plan])
    made, shown = capsys.readouterr().out.splitlines()[-2:]
    found = read(out / "board_my_defense.json")
    assert str(out / "board_my_defense.json") == made and "my_defense" in (out / "board_my_defense.html").read_text()
    assert list(found["results"]) == ["oracle", "my_defense", "nothing"] and shown.endswith(".html")
    mine, other = (dict(found["results"][name], alias="") for name in ("my_defense", "nothing"))
    assert mine == other
    assert len(found["configs"]["my_defense"]["defense_sha256"]) == 64


BROKEN = {
    "no Python": ("def my_defense(:", "is no Python"),
    "empty": ("", "has no my_defense and no MyDefense"),
    "without its config": (STRANGERS.replace("class MyDefense", "class Other"), "has no MyDefense"),
    "of other arguments": (
        STRANGERS.replace("captions, unseen=(), seed=0, config=MyDefense()", "captions"),
        "other arguments",
    ),
    "with a missing import": ("import no_such_package\n" + STRANGERS, "can't be used: ModuleNotFoundError"),
    "that asks for too much": (STRANGERS.replace("    pass", "    needs = ('original',)"), "may need known alone"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_file_that_is_no_defense_is_refused_before_anything(kind, tmp_path, capsys):
    text, said = BROKEN[kind]
    file = tmp_path / "my_defense.py"
    file.write_text(text)
    assert said in refused(capsys, "board", "--add", file, "--out", tmp_path / "out", "--folder", tmp_path / "none")
    assert not (tmp_path / "out").exists()


RETURNED = {
    "raises": ("raise KeyError('no such layer')", "fails on planted: KeyError"),
    "a number": ("return 7", "returns a int; return a Defended"),
    "not finite": ("return replace(undefended(pipeline, captions), embeddings=one * float('nan'))", "finite embedding"),
    "of another width": ("return replace(undefended(pipeline, captions), embeddings=one[..., :3])", "finite embedding"),
    "no masks": ("return replace(undefended(pipeline, captions), masks=None)", "fails on planted"),
}


@pytest.fixture(scope="module")
def planted_world():
    return open_world(OnWorld(targets=2, held_out=2, retained=60, device="cpu"))


@pytest.mark.parametrize("kind", RETURNED)
def test_what_a_strangers_defense_does_wrong_is_one_sentence(kind, planted_world, tmp_path):
    body, said = RETURNED[kind]
    head = STRANGERS[: STRANGERS.index("    return undefended")]
    file = tmp_path / "my_defense.py"
    file.write_text(
        f"from dataclasses import replace\n{head}    one = undefended(pipeline, captions).embeddings\n    {body}\n"
    )
    config = replace(stress.SMOKE, defense=str(file))
    with pytest.raises(InputError, match=said):
        stress.defended_by(planted_world, config)


def test_names_and_flags_that_cannot_be(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = ["--out", "out", "--folder", "none"]
    for name in ("magnitude.py", "oracle.py"):
        (tmp_path / name).write_text(STRANGERS)
    assert "a defense that is there already" in refused(capsys, "board", "--add", "magnitude.py", *out)
    assert "there is no Python file" in refused(capsys, "board", "--add", "gone.py", *out)
    assert "none of" in refused(capsys, "board", "--defenses", "nemmo", *out)
    assert "name some of the defenses" in refused(capsys, "board", "--defenses", ",", *out)
    assert "no 'dorri'" in refused(capsys, "board", "--attacks", "dorri", *out)
    assert "worlds is 0" in refused(capsys, "board", "--worlds", "0", *out)
    assert "targets is 1" in refused(capsys, "board", "--targets", "1", *out)
    assert "workers is 0" in refused(capsys, "board", "--workers", "0", *out)
    assert "not both" in refused(capsys, "board", "--add", "a.py", "--check", "b.json", *out)
    assert "holds no finished world" in refused(capsys, "board", "--plan.seed", "0", "--plan.unique", "77", *out)
    assert not (tmp_path / "out").exists()


def test_an_edited_file_is_another_defense(tmp_path):
    file = tmp_path / "my_defense.py"
    file.write_text(STRANGERS)
    first = methods.defense_in(file).function
    assert methods.defense_in(file).function is first
    file.write_text(STRANGERS.replace("return undefended", "return 7 or undefended"))
    assert methods.defense_in(file).function(None, []) == 7
