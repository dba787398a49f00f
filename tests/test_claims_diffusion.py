"""What the claims of experiments/diffusion say of rows made by hand; a boundary is met from both sides."""

import importlib
from dataclasses import replace

import pytest
from handmade import Case, Experiment, agrees, case, claims_of, copies, flat, row

from difflab.errors import InputError

CURE, SLOWER = "adversarial_finetuning", "dori, slower"
ATTACKS = ("nothing", "dori", SLOWER, "dori, from noise", "discrete_tokens", "initial_noise")


def adversarial_cure(rates=None, surrogates=0.1, cost=1.04):
    found = {(CURE, attack): 0.1 for attack in ATTACKS}
    found |= {(name, "dori"): 0.2 for name in ("no inner search", "low rank")}
    found |= {(name, "dori"): 0.54 for name in ("retained only", "concept_erasure")} | (rates or {})
    rows = copies(surrogates, defense="surrogates")
    for (defense, attack), rate in found.items():
        rows += copies(1 - rate, defense=defense, target="never", attack=attack)
        rows += copies(rate, defense=defense, target="repeated", attack=attack)
    for captions, ratio in (("neighbouring", 2.0), ("unrelated", cost)):
        rows.append(row("held_out_ratio", ratio, defense=CURE, captions=captions))
        rows.append(row("held_out_ratio", 3 - ratio, defense="nemo", captions=captions))
    return rows


NEMO, WANDA, BUDGETS = "repeated, nemo", "repeated, wanda", (0, 50, 51, 500)


def attack_budget(curves=None):
    """At 50 steps alone memories are back and controls are not."""
    found = {
        NEMO: (0.0, 0.54, 0.54, 1.0),
        WANDA: (0.0, 0.53, 0.54, 1.0),
        "once": (0.0, 0.1, 0.2, 0.105),
        "never": (0.0, 0.0, 0.0, 0.0),
        "oracle": (0.0, 0.05, 0.0, 0.0),
    }
    rows = []
    for curve, rates in (found | (curves or {})).items():
        rows += copies(0.9, curve=curve, rate=0.1, attack="nothing", attack_steps=0)
        for steps, rate in zip(BUDGETS, rates, strict=True):
            rows += copies(rate, curve=curve, rate=0.1, attack="dori", attack_steps=steps)
    for curve in found:
        rows += copies(0.3, curve=curve, rate=0.02, attack="dori", attack_steps=50)
    return rows


def attack_information(coarse=0.42, one=0.54, twin=0.1, oracle=0.1):
    """At the second budget all is the other way around, but for twins."""
    found = {
        ("repeated", "rows", "all"): 0.8,
        ("repeated", "rows", "1"): one,
        ("repeated", "bits", 2): coarse,
        ("repeated", "bits", 8): coarse and 0.1,
        ("repeated", "transfer", "original"): 0.9,
        ("repeated", "transfer", "oracle"): oracle,
        ("never", "rows", "all"): twin and 0.0,
        ("never", "rows", "1"): twin,
        ("oracle", "rows", "all"): 0.9,
    }
    key, rows = {"rows": "kept", "bits": "bits", "transfer": "to"}, []
    for steps in (150, 50):
        for (target, cut, value), rate in found.items():
            if rate is not None:
                there = rate if steps == 50 or target == "never" else 1 - rate
                rows += copies(there, target=target, attack_steps=steps, cut=cut, **{key[cut]: value})
    return rows


def defense_stressed(undefended=0.54, prompt=0.39, defended=(0.5, 0.5), once=(0.0, 0.0), never=(0.1, 0.1), cost=1.04):
    rows = [row("held_out_ratio", 2.0, defense="yours", captions="neighbouring")]
    rows.append(row("held_out_ratio", cost, defense="yours", captions="unrelated"))
    searches = {"repeated": (prompt, *defended), "never": (0.0, *never)} | ({"once": (0.0, *once)} if once else {})
    for target, rates in searches.items():
        rows += copies(rates[0], state="defended", target=target, attack="nothing", attack_steps=0)
        for steps, rate in zip((0, 1, 10), rates, strict=True):
            rows += copies(rate, state="defended", target=target, attack="dori", attack_steps=steps)
            rows += copies(0.9, state="undefended", target=target, attack="dori", attack_steps=steps)
        rows += copies(0.9, state="defended", target=target, attack="random_perturbation", attack_steps=0)
    return [*rows, *copies(undefended, state="undefended", target="repeated", attack="nothing", attack_steps=0)]


def lora_memorized(
    base=0.0,
    oracle=0.0,
    small=(0.1, 0.54),
    large=(0.1, 0.54),
    areas=((0.9,), (0.5, 0.5, 0.5)),
    met=(0.26, 0.28),
    **controls,
):
    """Two looks at two ranks; what is not asked for says the opposite."""

    def rates(median, at_all, **setting):
        here = {"defense": "nothing", "attack": "nothing", "target": "own"} | setting
        return [row("memorized_fraction", s, **here, seeds=seeds) for seeds, s in (("median", median), ("any", at_all))]

    rows = rates(1.0, base, model="base", rank=0, steps=0)
    for rank, curve in ((16, large), (4, small)):
        for steps, value in zip((2000, 100), reversed(curve), strict=True):
            rows += rates(value, 1 - value, model="fine-tuned", rank=rank, steps=steps)
            drawn = oracle if (rank, steps) == (4, 100) else 0.0
            rows += rates(1.0, drawn, model="oracle", rank=rank, steps=steps)
        for model, area in zip(("fine-tuned", "oracle"), areas, strict=True):
            told = area if rank == 16 else (0.7, 0.6, 0.8)
            rows.append(row("auc", *told, model=model, rank=rank, detector="noise_magnitude"))
            rows.append(row("auc", 0.7, 0.6, 0.8, model=model, rank=rank, detector="bright_ending"))
    here = {"rank": 16, "steps": 2000, "defense": "nemo"}
    found = {("fine-tuned", "own", "nothing"): met[0], ("fine-tuned", "own", "dori"): met[1]}
    found |= {("fine-tuned", "never", "nothing"): 0.9, ("fine-tuned", "never", "dori"): controls.get("never", 0.1)}
    found |= {("oracle", "own", "nothing"): 0.9, ("oracle", "own", "dori"): controls.get("searched", 0.1)}
    for (model, target, attack), value in found.items():
        for seeds, share in (("median", value), ("any", 1 - value)):
            setting = here | {"model": model, "target": target, "attack": attack, "seeds": seeds}
            rows.append(row("memorized_fraction", share, **setting))
    return rows


def measures_evaluated(best=(0.9, 0.9, 0.9), imagenet=0.9, **moved):
    """After the shorter relearning, of what is not faithful, and of detectors under a sampler all is worse."""
    copying, detecting, scoring = best
    found = {("copy measure", "pixel"): copying, ("copy measure", "efficientnet"): imagenet}
    found |= {
        ("copy measure", "patch"): 0.3,
        ("detector", "seed_similarity"): 0.85,
        ("detector", "magnitude"): detecting,
    }
    found |= {("membership score", "pia"): scoring, ("membership score", "secmi"): 0.2}
    rows = [row("auc", 0.5, kind="blind baseline", measure="blind", change="nothing", amount=0)]
    changes = {("relearning", 25): -0.2, ("relearning", 100): moved.get("relearned", -0.05)}
    changes |= {("bits", 8): moved.get("fine", 0.05), ("bits", 4): 0.3, ("sampler", "euler"): moved.get("drawn", -0.05)}
    kept = {8: 0.7, 4: moved.get("coarse", 0.6)}
    for (kind, measure), area in found.items():
        here = {"kind": kind, "measure": measure}
        rows.append(row("auc", area, **here, change="nothing", amount=0))
        for (change, amount), difference in changes.items():
            unfaithful, first = measure == "seed_similarity", measure in ("pixel", "magnitude", "pia")
            value = difference if first else 0.0
            value = -0.2 if unfaithful and change in ("relearning", "sampler") else value
            setting = here | {"change": change, "amount": amount}
            rows.append(row("auc", 1.0 - area, **setting))
            rows.append(row("auc_difference", value, **setting))
            if change != "sampler" or kind == "copy measure":
                lasting = kept.get(amount, 0.5) + (0.25 if first else -0.25 if unfaithful else 0.0)
                rows.append(row("robustness_fraction", lasting, **setting))
    return rows


def memorization_detected(many=(0.95, 0.95), loss=0.94, ladder=((1, (0.5, 0.5, 0.5)), (4, (0.5,)), (64, (0.96,)))):
    rows = []
    for seeds, steps, told in ((1, "all", False), (4, "first", False), (4, "all", True)):
        here = {"detector": "noise_magnitude", "seeds": seeds, "steps": steps}
        for against, area in zip(("held_out", "twin"), many, strict=True):
            rows.append(row("auc", area if told else 0.1, **here, copies="64 and more", against=against))
        for copied, found in ladder:
            area = row("auc", *found, **here, copies=copied, against="held_out")
            rows.append(area if told else area._replace(value=1 - area.value, low=None, high=None))
            rows.append(row("auc", 1 - area.value, **here, copies=copied, against="twin"))
    for against, area in (("held_out", loss), ("twin", 1.0)):
        here = {"detector": "denoising_loss", "seeds": 4, "steps": "all", "against": against}
        rows.append(row("auc", area, **here, copies="64 and more"))
    return [*rows, row("auc", 0.97, detector="noise_magnitude", seeds=9, steps="all", copies="SD 1.4", source="papers")]


def memorization_in_the_picture(inside=0.9, bright=0.54, prompts=0.54, overlap=0.41):
    rows = [row("memorized_fraction", rate, part=part) for part, rate in (("outside", 0.5), ("inside", inside))]
    found = {"bright ending": (bright, overlap), "prompt's difference": (prompts, 0.3), "all ones": (0.5, 0.3)}
    for name, (area, share) in found.items():
        rows.append(row("auc", 0.9, area, 1.0, map=name))
        rows.append(row("best_overlap_fraction", max(share, 0.4), share, 0.4 if name == "all ones" else 1.0, map=name))
    return rows


DIFFERENT, OURS, RANDOM = "different pictures", "one picture, gaussian, nothing", "random, gaussian"
RATES = {(defense, starts): 0.9 for defense in ("nothing", "nemo") for starts in ("gaussian", "captions")}


def memorization_located(
    rates=None,
    apart=(10.0, 10.0, 10.5),
    nearest=1.0,
    moves=((0.1, 0.0, 0.2), (-0.1, -0.2, 0.0)),
    said=((5.0, 20.0), (10.0, 11.0)),
    like_random=10.0,
    agree=(0.11, 0.11),
    ours=0.3,
):
    """Triggers lie 10 apart; apart: prompts, starts, random moves. In layers different pictures are 10 apart."""
    rows = [row("pairwise_distance", apart[0], group=DIFFERENT)]
    for (defense, kind), rate in (RATES | (rates or {})).items():
        here, first = {"defense": defense, "starts": kind}, defense == "nothing" and kind == "gaussian"
        rows += copies(rate, **here, embedding="triggers") + copies(0.1, **here, embedding="starts")
        distances = {"starts": apart[1], "random moves": apart[2]} if first else {"starts": 10.0, "random moves": 10.0}
        for group, distance in {**distances, "triggers": 10.0 if defense == "nothing" else 1.0}.items():
            rows.append(row("pairwise_distance", distance, **here, group=group))
        rows.append(row("own_start_nearest_fraction", nearest if first else 1.0, **here))
        cosine = (0.9, 0.8, 1.0) if defense == "nemo" else moves[kind == "captions"]
        rows.append(row("move_similarity", *cosine, **here, pictures="one"))
        rows.append(row("move_similarity", 0.9, 0.8, 1.0, **here, pictures="different"))
    for part, values, low in zip(("value", "feedforward"), said, agree, strict=True):
        for place, value in enumerate(values):
            here = {"part": part, "place": place, "layer": f"layer {place}"}
            for group, distance in ((DIFFERENT, 10.0), (OURS, value), (RANDOM, 9.0 if place else like_random)):
                rows.append(row("discrepancy_distance", distance, **here, group=group, source="measured"))
            rows.append(row("discrepancy_distance", 400.0, **here, group=DIFFERENT, source="published"))
            rows.append(row("overlap_fraction", 0.01, **here, group=DIFFERENT, source="published"))
            if low is not None:
                least = 0.2 if place else low
                rows.append(row("overlap_fraction", 0.5, least, 0.6, **here, group=DIFFERENT, source="measured"))
                rows.append(row("chance_overlap_fraction", 0.1, **here, group=DIFFERENT, source="measured"))
            share = ours if part == "feedforward" else 0.9
            for group, value in ((OURS, share), (RANDOM, 0.3)):
                rows.append(row("overlap_fraction", value, **here, group=group, source="measured"))
    return rows


def memorization_planted(ladder=((256, 0.9), (1, 0.1), (64, 0.9)), unique=0.02, twin=0.02):
    rows = []
    asked = [("repeated", copied, rate) for copied, rate in ladder]
    asked += [(role, n, rate) for role, n, rate in (("unique", 1, unique), ("twin", 0, twin)) if rate is not None]
    for role, copied, rate in asked:
        here = {"role": role, "copies": copied}
        rows += copies(rate, **here, step=60, source="all") + copies(1 - rate, **here, step=60, source="scene")
        rows += copies(1 - rate, **here, step=30, source="all")
    return rows


READINGS = ("unit_entropy", "unit_information", "attention_entropy", "matrix_entropy")


def model_inspected(alike=(), other="mid", asked=READINGS):
    """In the first layer intervals meet, in the last one they lie apart, once above and once below; a third is not of
    both."""
    rows = []
    for i, metric in enumerate(asked):
        touching = alike == "touching"
        apart = (0.5, 0.4, 1.0 if touching else 0.9) if i % 2 else (2.5, 2.0 if touching else 2.1, 2.6)
        last = (1.5, 1.0, 2.1) if metric == alike else apart
        for layer, ends in (("conv_in", (1.5, 1.0, 2.0)), (other, last), ("up 1", (9.0, 9.0, 9.0))):
            rows.append(row(metric, *ends, of="model", layer=layer))
        for layer in ("conv_in", "mid"):
            rows.append(row(metric, 1.5, 1.0, 2.0, of="untrained", layer=layer))
    return [*rows, row("neighbour_dimension", 3.0, of="model", layer="mid"), row("local_dimension", 9.0, of="model")]


NOISY, CUED = "label noise", "shortcut"
COPYING = ("denoisers of fewer pictures", "denoisers trained longer", "pipelines of fewer pictures")


READINGS = ("unit_entropy", "unit_information", "neighbour_information")
SAID = ("entropy of units", "information in bins", "information by neighbours")
AT_OWN = "trained, at own drawings"


def units_rank_models(size=None, ends=None, own=None, copies=None, control=(0.0, 0.1), whole=True):
    """By family and reading: of classifiers the size of tau, of diffusion models the end of its interval next to 0,
    at unseen pictures and at own drawings."""
    rows = []
    for family in (NOISY, CUED, *COPYING) if whole else COPYING[:1]:
        for reading in (*READINGS, "confidence"):
            sign = -1 if (family == CUED) == (reading == "unit_entropy") else 1
            value = sign * (size or {}).get((family, reading), 0.8)
            near = sign * (ends or {}).get((family, reading), 0.01 if family in COPYING else -1.0)
            setting = {"family": family, "of": "trained", "reading": reading}
            if reading == "confidence":
                value = near = 0.0
            rows.append(row("rank_correlation", value, min(value, near), max(value, near), **setting))
            if whole and family in COPYING[:2] and reading != "confidence":
                near = sign * (own or {}).get((family, reading), 0.01)
                rows.append(
                    row("rank_correlation", value, min(value, near), max(value, near), **setting | {"of": AT_OWN})
                )
            if whole:
                low, high = control if (family, reading) == (CUED, "neighbour_information") else (-0.2, 0.1)
                low, high = (0.5, 0.6) if reading == "confidence" else (low, high)
                rows.append(row("rank_correlation", (low + high) / 2, low, high, **setting | {"of": "never trained"}))
                rows.append(row("rank_correlation", 0.0, -0.1, 0.1, **setting | {"of": "trained, at cues of chance"}))
        if family in COPYING:
            for at, value in zip((8, 16, 32), (0.0, 0.4, (copies or {}).get(family, 0.5)), strict=True):
                rows.append(row("copied_fraction", value, family=family, at=at))
    return rows


TRUTHS = ("told by shadow models", "wrong labels", "copied")
RIVALS = {
    "classifiers": ("loss", "margin", "Mahalanobis", "PSMI, never trained", "neighbours"),
    "language models": (
        "loss",
        "margin",
        "Mahalanobis",
        "PSMI, never trained",
        "PSMI, before fine-tuning",
        "neighbours",
    ),
    "denoisers": ("loss", "Mahalanobis", "PSMI, never trained", "distance to the nearest"),
    "pipelines": ("loss", "Mahalanobis", "PSMI, never trained", "distance to the nearest"),
}  # fmt: skip
TOLD = [("classifiers", TRUTHS[0]), ("classifiers", TRUTHS[1]), ("denoisers", TRUTHS[2]),
        ("language models", TRUTHS[0]), ("language models", TRUTHS[1])]  # fmt: skip


DRAWN = ("drawn again, copies differ", "drawn again, at equal copies")
TOLD += [("pipelines", truth) for truth in DRAWN]


LOSS_RIVALS = ("loss, never trained", "likeness by then", "distance to the nearest")


def memorization_predicted(psmi=None, gaps=None, chance=(0.5, 0.6), loss=0.51, losses=None, whole=True):
    """By place in TOLD the AUC of PSMI, of copies the low end of its interval; by subject and rival the low end of the
    gap; the same of the loss, of scenes at equal copies."""
    areas = dict(enumerate((0.8, 0.9, 0.51, 0.8, 0.9, 0.51, 0.51))) | (psmi or {})
    rows = []
    for place, (subject, truth) in enumerate(TOLD if whole else TOLD[:1]):
        setting = {"subject": subject, "truth": truth}
        rows.append(row("memorized_fraction", 0.1, 0.05, 0.2, **setting))
        low, high = chance if place == 0 else (0.4, 0.6)
        rows.append(row("auc", (low + high) / 2, low, high, **setting, sign="random"))
        if not whole:
            continue
        copied = truth == "copied" or truth in DRAWN
        rows.append(row("auc", 0.9 if copied else areas[place], areas[place] if copied else 0.4, 0.95, **setting,
                        sign="PSMI"))  # fmt: skip
        rows.append(row("auc", 0.6, loss if truth == DRAWN[1] else 0.2, 0.9, **setting, sign="loss"))
        if copied:
            rows.append(row("auc", 0.6, 0.2, 0.9, **setting, sign="loss, never trained"))
        for rival in LOSS_RIVALS if copied else ():
            low = (losses or {}).get(rival, 0.01) if truth == DRAWN[1] else -0.1
            rows.append(row("auc_difference", 0.1, low, 0.2, **setting, sign="loss", less=rival))
        rows.append(row("auc", 0.8, 0.7, 0.9, **setting, sign="distance to the nearest"))
        if truth not in ("wrong labels", DRAWN[0]):
            for rival in RIVALS[subject]:
                low = (gaps or {}).get((subject, rival), 0.01)
                rows.append(row("auc_difference", 0.1, low, 0.2, **setting, sign="PSMI", less=rival))
        else:
            rows.append(row("auc_difference", -0.1, -0.2, 0.1, **setting, sign="PSMI", less="loss"))
    return rows


def pipeline_audited(prompts=0.0):
    rows = []
    for captions, rate in (("once", 0.0), ("prompts", prompts)):
        rows.append(row("memorized_fraction", 0.5, measure="efficientnet", captions=captions, seeds="any"))
        rows.append(row("memorized_fraction", rate, measure="pixel", captions=captions, seeds="any"))
    return rows


def membership_audited(best=(0.6, 0.55, 0.7), broadest=(0.5, 0.4, 0.6), p=0.01, alarms=(15, 15)):
    """Of a score on members shown often, of the baseline on those seen once; alarms of 1,000 null sets in two rows."""
    rows = []
    for shown, against, alike, blind, score in (
        ("64 and more", "held out", False, (0.9, 0.8, 0.95), (0.9, 0.85, 1.0)),
        ("once", "held out", True, broadest, (0.5, 0.4, 0.6)),
        ("64 and more", "twins", True, (0.51, 0.5, 0.55), best),
    ):
        for method, ends in (("pia", score), ("blind", blind)):
            setting = {"method": method, "copies": shown, "against": against, "drawn_alike": alike}
            rows.append(row("auc", *ends, **setting))
    for test, mean, false in (("one split", p, alarms[0]), ("five folds", 0.001, alarms[1])):
        for shown, value in (("once", 0.5), ("64 and more", mean)):
            rows.append(row("mean_p_value", value, test=test, copies=shown, against="twins", sample=10))
        for size, count in ((10, false), (30, 5)):
            false_alarms = row("false_alarm_fraction", count / 500, test=test, against="twins", sample=size)
            rows.append(false_alarms._replace(n=500))
    return rows


FROZEN, JOINT, PLANTED, LOST = "64 copies, frozen", "64 copies, joint", "900 copies, frozen", "999 copies, frozen"
LOCAL = {"nothing": 0.54, "nemo": 0.21, "random_neurons": 0.3, "cost": 1.01}
SHARED = LOCAL | {"nemo": 0.54}


def prunable(cells=None, shares=None):
    """What is in cells replaces what is measured in them; no memory of the last two cells is local."""
    found = {FROZEN: LOCAL, JOINT: LOCAL, PLANTED: SHARED, LOST: SHARED} | (cells or {})
    planted = {FROZEN: 0.5, JOINT: 0.2, PLANTED: 0.9, LOST: 0.9} | (shares or {})
    rows = []
    for cell, here in found.items():
        rows.append(row("planted_fraction", planted[cell], cell=cell))
        for defense in ("nothing", "nemo", "random_neurons"):
            ratio = here["cost"] if defense == "nemo" else 3.0
            rows.append(row("held_out_ratio", ratio, cell=cell, defense=defense))
            rows += copies(0.0, cell=cell, defense=defense, role="twin")[:1]
            rows += copies(here[defense], cell=cell, defense=defense, role="repeated")[:1]
    return rows


DORI, STEP, PROMPT = ("nemo", "dori"), ("nemo", "random_perturbation"), "nothing"


def pruning_attacked(rates=None, oracle=0.1, never=0.1, loss=1.1, ratio=1.0):
    """Before the last budget nothing comes back."""
    found = {("nothing", PROMPT): 0.9, ("nemo", PROMPT): 0.39, ("random_neurons", PROMPT): 0.4}
    found |= {DORI: 0.54, STEP: 0.49, ("nothing", "dori"): 1.0, ("random_neurons", "dori"): 1.0} | (rates or {})
    rows = []
    for (defense, attack), rate in found.items():
        cells = {"repeated": rate, "once": 0.0, "never": never if attack == "dori" else 0.0}
        for target, share in (cells | ({"oracle": oracle} if (defense, attack) == ("nothing", "dori") else {})).items():
            here = {"defense": defense, "target": target, "attack": attack}
            rows += copies(0.0, **here, attack_steps=10) if attack == "dori" else []
            rows += copies(share, **here, attack_steps=50 if attack == "dori" else 0)
    for captions, unrelated in (("neighbouring", False), ("unrelated", True)):
        measured = {"nothing": (1.0, 0.9, 1.1), "nemo": (loss if unrelated else 9.0,)}
        for defense, values in measured.items():
            low = ratio if (defense, captions) == ("nemo", "unrelated") else 2.0
            rows.append(row("held_out_loss", *values, defense=defense, captions=captions))
            rows.append(row("held_out_ratio", 2.0, low, 3.0, defense=defense, captions=captions))
    return rows


FIRST, CLIP, ALONG, LARGE = ("random", 0.03), ("clip", 0.03), ("joint", 0.03), ("random", 0.3)
BACK = LOCAL | {"stopped": 0.5, "back": 0.27, "searched": 0.1, "oracle": 0.1, "twin": 0.1}


def regime(cells=None):
    """What is in cells replaces what is measured in them; behind NeMo a search draws all, which no claim is about."""
    found = {FIRST: BACK, CLIP: BACK, ALONG: BACK | {"nemo": 0.54}, LARGE: BACK | {"cost": 1.02}} | (cells or {})
    rows = []
    for (text, share), here in found.items():
        setting = {"cell": f"{text}, {share}", "text": text, "share": share}
        rates = {("nemo", "dori", "repeated"): 1.0, ("nemo", "dori", "twin"): 1.0}
        rates |= {("nothing", "dori", "oracle"): here["searched"], ("nothing", "nothing", "oracle"): here["oracle"]}
        for defense in ("nothing", "nemo", "random_neurons"):
            rates |= {(defense, "nothing", "repeated"): here[defense]}
            rates |= {(defense, "nothing", "twin"): here["twin"] if defense == "nothing" else 0.9}
            ratio = here["cost"] if defense == "nemo" else 3.0
            rows.append(row("held_out_ratio", ratio, **setting, defense=defense))
        for (defense, attack, role), rate in rates.items():
            rows.append(row("memorized_fraction", rate, **setting, defense=defense, attack=attack, role=role))
        rows.append(row("planted_fraction", share, **setting))
        rows.append(row("stopped_fraction", here["stopped"], **setting))
        rows.append(row("brought_back_fraction", here["back"], **setting))
    return rows


SOME, NONE, BOTH = "some cell is prunable", "none is where", "jointly"


def pictures_charted(found=None, chance=(0.5, 0.6), blind=0.5, whole=True):
    """Of scenes and emoji; the end of the interval that counts, by signal and source."""
    rows = []
    for kind in ("scenes", "emoji"):
        for signal in ("forget events", "loss drop", "last loss"):
            low = (found or {}).get((signal, kind), 0.51)
            rows.append(row("auc", 0.9, low, 0.99, signal=signal, kind=kind, against="its own domain"))
        rows.append(row("auc", 0.3, 0.2, 0.4, signal="early loss", kind=kind, against="its own domain"))
        if whole:
            ends = chance if kind == "emoji" else (0.4, 0.5)
            rows.append(row("control_auc", sum(ends) / 2, *ends, signal="last loss", kind=kind))
            rows.append(row("blind_auc", 0.6, blind if kind == "scenes" else 0.4, 0.7, kind=kind))
    return rows


SINKS = ("sinks dropped", "sinks cut out")
PRUNINGS = ("NeMo", "Wanda")


def pictures_isolated(
    prompted=None, twins=0.1, costs=(1.02, 0.01), closed=None, gaps=None, back=None, oracle=None, taught=None
):
    """What is given replaces the value, or the end of the interval that counts; where 8 copies are all is different."""
    rows = [
        row("validation_ratio", 1.0, 0.9, costs[0], model="sinks dropped"),
        row("validation_ratio", 1.5, 1.4, 1.6, model="Wanda"),
        row("validation_difference", 0.3, costs[1], 0.5, of="general units dropped", less="sinks dropped"),
        *(row("relearned_loss", 1.2, model="sinks dropped", steps=steps) for steps in (9, 3)),
    ]
    shares = {"standard": 0.51, "own sinks on": 0.51, "sinks dropped": 0.1, "Wanda": 0.3, "retrained without": 0.0}
    for kind in ("scene", "emoji"):
        for who, share in shares.items():
            told = {"model": who, "kind": kind, "attack": "prompt"}
            value = (prompted or {}).get((kind, who), share)
            rows.append(row("memorized_fraction", value, **told, copies=64, role="repeated"))
            twin = twins if (kind, who) == ("emoji", "Wanda") else 0.0
            rows.append(row("memorized_fraction", twin, **told, copies=64, role="twin"))
            rows.append(row("memorized_fraction", 0.3, **told, copies=8, role="repeated"))
            rows.append(row("memorized_fraction", 0.3, **told, copies=8, role="twin"))
        rows.append(row("gap_closed_ratio", 0.8, (closed or {}).get(kind, 0.51), 1.1, model="sinks dropped", kind=kind))
        rows.append(row("gap_closed_ratio", 0.3, 0.1, 0.5, model="Wanda", kind=kind))
        rows.append(
            row("gap_closed_difference", -0.2, -0.3, 0.0, of="sinks dropped", less="retrained without", kind=kind)
        )
        for less in ("sinks drawn anew, dropped", *PRUNINGS):
            low = (gaps or {}).get((kind, less), 0.01)
            rows.append(row("gap_closed_difference", 0.4, low, 0.9, of="sinks dropped", less=less, kind=kind))
        for who in ("retrained without", "Wanda", "sinks dropped"):
            share = (oracle or {}).get(kind, 0.1) if who == "retrained without" else 0.5
            for role, value in (("repeated", share), ("twin", 0.5)):
                told = {"model": who, "kind": kind, "attack": "search for embeddings", "copies": 64}
                rows.append(row("memorized_fraction", value, **told, role=role))
        for who in ("standard", "retrained without", "Wanda", "sinks dropped"):
            told = {"model": who, "kind": kind, "attack": "relearning", "copies": 64}
            share = (taught or {}).get(kind, 0.51) if who == "standard" else 0.4
            rows.append(row("memorized_fraction", share, **told, role="repeated", steps=9))
            rows.append(row("memorized_fraction", 0.4, **told, role="repeated", steps=3))
            rows.append(row("memorized_fraction", 0.4, **told, role="twin", steps=9))
    for attack in ("search for embeddings", "relearning"):
        for of in SINKS[:1] if attack == "search for embeddings" else SINKS:
            high = (back or {}).get((attack, of), 0.09)
            rows.append(row("copied_difference", 0.0, -0.1, high, of=of, less="retrained without", attack=attack))
        for of in PRUNINGS:
            rows.append(row("copied_difference", 0.5, 0.2, 0.9, of=of, less="retrained without", attack=attack))
            low = (back or {}).get((attack, of), 0.01)
            rows.append(row("copied_difference", 0.5, low, 0.9, of=of, less="sinks dropped", attack=attack))
    return rows


EVERY_CAPTION = "drawn from all captions"
WITHOUT_ITEMS = (
    "predictions", "predictions, same first weights", "features", "drawn from background captions",
)  # fmt: skip


def pictures_distilled(
    twin=0.01, oracle=(0.4, 0.5), copied=None, taught=0.51, sampled=0.01, drawn=None, passed=None, weights=0.01,
    whole=True,
):  # fmt: skip
    """Of the most copies, 64, and of 8, which no claim is about. Of what passes, the ends that count, by channel."""
    rows = []
    for channel, (low, high) in (("nothing", (0.4, 0.6)), ("predictions", oracle)):
        rows.append(row("repeated_auc", (low + high) / 2, low, high, channel=channel, teacher="oracle"))
    rows.append(row("repeated_auc", 0.9, 0.8, 1.0, channel="predictions", teacher="model"))
    if not whole:
        return [*rows, row("drawn_fraction", 0.0, channel="teacher", teacher="model", of="twin", copies=0)]
    shares = {("oracle", "captions of items"): 0.01, ("model", "background captions"): 0.01} | (copied or {})
    shares |= {("oracle", "background captions"): 0.5, ("model", "captions of items"): 0.5}
    rows += [row("copied_fraction", share, teacher=who, captions=of) for (who, of), share in shares.items()]
    back = dict.fromkeys(WITHOUT_ITEMS, 0.0) | {"teacher": taught, EVERY_CAPTION: 0.5} | (drawn or {})
    for channel, value in back.items():
        here = {"channel": channel, "teacher": "model"}
        low = sampled if channel == EVERY_CAPTION else value
        rows.append(row("drawn_fraction", value, low, value, **here, of="repeated", copies=64))
        rows.append(row("drawn_fraction", 0.5, 0.0, 1.0, **here, of="repeated", copies=8))
        rows.append(row("drawn_fraction", 0.5, channel=channel, teacher="oracle", of="repeated", copies=64))
        rows.append(row("drawn_fraction", twin if channel == "features" else 0.0, **here, of="twin", copies=0))
    for channel in WITHOUT_ITEMS:
        low, high = (passed or {}).get(channel, (0.01, 0.09))
        rows.append(row("passed_difference", 0.5, low, 0.9, channel=channel))
        rows.append(row("passed_ratio", 0.05, -0.1, high, channel=channel))
    rows.append(row("passed_ratio", 0.9, 0.8, 1.0, channel=EVERY_CAPTION))
    return [*rows, row("weights_difference", 0.5, weights, 0.9, channel="predictions")]


FLOORS = ("twofold_difference", "kind_difference", "total_difference")


def cross_client_pictures(
    own=0.01, never=0.01, twofold=0.01, excess=None, chance=None, kinds=None, central=0.01, prox=0.01, whole=True,
    floor=False,
):  # fmt: skip
    """By condition the ends of what is drawn of others beyond chance, and what the client that never took part draws;
    by kind of items how much more often they come back. At the floor nothing does."""
    rows = []
    for condition in ("federated", "FedProx", "centralized", "alone"):
        low, high = (excess or {}).get(condition, (0.0, 0.0))
        if condition != "alone":
            rows.append(row("excess_difference", (low + high) / 2, low, high, condition=condition))
        rows.append(row("validation_loss", 0.5, condition=condition))
        for kind in ("private", "shared", "near-copy", "all"):
            for of, value in (("intra", 0.6), ("inter", 0.2), ("total", 0.7)):
                rows.append(row("match_fraction", value, condition=condition, match="copied", items=kind, of=of))
            value = (chance or {}).get(condition, 0.01) if kind == "all" else 0.5
            rows.append(row("match_fraction", value, condition=condition, match="copied", items=kind, of="unseen"))
        if not whole:
            continue
        low = own if condition == "alone" else -0.1
        rows.append(row("own_difference", 0.2, low, 0.4, condition=condition))
        low = twofold if condition == "federated" else -0.1
        rows.append(row("twofold_difference", 0.2, low, 0.4, condition=condition))
        for kind in ("shared", "near-copy"):
            low = (kinds or {}).get(kind, 0.01) if condition == "federated" else -0.1
            at = {"condition": condition, "items": kind, "less": "private"}
            rows.append(row("kind_difference", 0.2, low, 0.4, **at))
    if not whole:
        return rows
    for condition, against, low in (("federated", "centralized", central), ("FedProx", "federated", prox)):
        rows.append(row("total_difference", 0.2, low, 0.4, condition=condition, against=against, match="copied"))
    if floor:
        rows = [one._replace(value=0.0) if one.metric in FLOORS else one for one in rows]
    return [*rows, row("never_seen_fraction", never, condition="alone", items="private")]


EXPERIMENTS = {
    "cross_client_pictures": Experiment(
        cross_client_pictures,
        14,
        [
            case(),
            case("a client alone draws", own=0.0),
            case("a client alone never saw", never=0.02),
            case("over twice", twofold=0.0),
            *(
                made
                for condition in ("federated", "FedProx", "centralized")
                for made in (
                    case(f"{condition}: private captions", excess={condition: (0.01, 0.1)}),
                    case(f"{condition}: private captions", excess={condition: (-0.1, -0.01)}),
                    case(f"{condition}: captions of the client", chance={condition: 0.02}),
                )
            ),
            case("alone: captions of the client", chance={"alone": 0.02}),
            *(case(f"{kind}: what two", kinds={kind: 0.0}) for kind in ("shared", "near-copy")),
            case("more than rows in one place", central=0.0),
            case("more than FedAvg", prox=0.0),
            case(says=7, whole=False),
            case(says=9, floor=True),
        ],
    ),
    "pictures_charted": Experiment(
        pictures_charted,
        5,
        [
            case(),
            *(
                case(f"{signal}: copies", found={(signal, kind): 0.5})
                for signal in ("forget events", "loss drop", "last loss")
                for kind in ("scenes", "emoji")
            ),
            case("shuffled labels", chance=(0.51, 0.6)),
            case("shuffled labels", chance=(0.4, 0.49)),
            case("pictures and captions alone", blind=0.51),
            case(says=3, whole=False),
        ],
    ),
    "pictures_distilled": Experiment(
        pictures_distilled,
        19,
        [
            case(),
            case("every model's twins", twin=0.02),
            case("every interval", oracle=(0.51, 0.6)),
            case("every interval", oracle=(0.4, 0.49)),
            case(oracle=(0.5, 0.6)),
            case("what the oracle draws", copied={("oracle", "captions of items"): 0.02}),
            case("from background captions at most", copied={("model", "background captions"): 0.02}),
            case("more than half", taught=0.5),
            case("draws some items", sampled=0.0),
            *(
                made
                for channel in WITHOUT_ITEMS
                for made in (
                    case(f"{channel}: a student that met", drawn={channel: 0.1}),
                    case(f"{channel}: without captions of items they pass something", passed={channel: (0.0, 0.09)}),
                    case(f"{channel}: without captions of items they pass less", passed={channel: (0.01, 0.1)}),
                )
            ),
            case("first weights", weights=0.0),
            case(says=2, whole=False),
        ],
    ),
    "adversarial_cure": Experiment(
        adversarial_cure,
        8,
        [
            case(),
            case("surrogates", surrogates=0.105),
            case("it was trained on", rates={(CURE, "dori"): 0.105}),
            case("every other attack", rates={(CURE, SLOWER): 0.105}),
            case("inner search", rates={("no inner search", "dori"): 0.1}),
            case("low rank", rates={("low rank", "dori"): 0.1}),
            case("ordinary pictures", rates={("retained only", "dori"): 0.5}),
            case("concept erasure", rates={("concept_erasure", "dori"): 0.5}),
            case("the cure costs", cost=1.05),
        ],
    ),
    "attack_budget": Experiment(
        attack_budget,
        6,
        [
            case(),
            case("no control", "there is a budget", curves={"never": (0.0, 0.105, 0.2, 0.2)}),
            case("NeMo stopped", "sooner", "there is a budget", curves={NEMO: (0.0, 0.5, 0.5, 0.5)}),
            case("Wanda stopped", "there is a budget", curves={WANDA: (0.0, 0.5, 0.5, 0.5)}),
            case("sooner", curves={WANDA: (0.0, 0.54, 0.54, 1.0)}),
            case("gives way", curves={"once": (0.0, 0.1, 0.2, 0.1)}),
        ],
    ),
    "attack_information": Experiment(
        attack_information,
        4,
        [
            case(),
            case("survive 2 bits", coarse=0.38),
            case("one free row", one=0.5),
            case("no twin", twin=0.105),
            case("the oracle draws", oracle=0.105),
            case("one free row", one=None),
            case(says=3, coarse=None),
            case(says=3, twin=None),
            case(says=3, oracle=None),
        ],
    ),
    "defense_stressed": Experiment(
        defense_stressed,
        4,
        [
            case(),
            case(once=None),
            case("without the defense", undefended=0.5),
            case("stops the prompts", prompt=0.4),
            case("(broken at 1 steps)", defended=(0.54, 0.5)),
            case("(broken at 10 steps)", defended=(0.5, 0.54)),
            case("at most 50 % come back", never=(0.105, 0.105)),
            case("at most 50 % come back", once=(0.105, 0.105)),
            case("5 % of loss", cost=1.05),
        ],
    ),
    "lora_memorized": Experiment(
        lora_memorized,
        10,
        [
            case(),
            case("without a fine-tune", base=0.01),
            case("no oracle draws", oracle=0.01),
            case("over half of its pictures", large=(0.1, 0.5), small=(0.1, 0.5), met=(0.24, 0.26)),
            case("at most 10 %", large=(0.105, 0.54)),
            case("the larger rank", small=(0.11, 0.54)),
            case("the larger rank", small=(0.1, 0.55)),
            case("noise magnitude", areas=((0.89,), (0.5, 0.5, 0.5))),
            case("on the oracle", areas=((0.9,), (0.6, 0.51, 0.7))),
            case("on the oracle", areas=((0.9,), (0.4, 0.3, 0.49))),
            case("NeMo stops", met=(0.28, 0.28)),
            case("Dori brings", met=(0.26, 0.26)),
            case("brings no control", never=0.105),
            case("brings no control", searched=0.105),
        ],
    ),
    "membership_audited": Experiment(
        membership_audited,
        5,
        [
            case(),
            case("better than pictures", best=(0.6, 0.56, 0.7)),
            case(broadest=(0.5, 0.5, 0.6)),
            case(broadest=(0.5, 0.4, 0.5)),
            case("tells nothing", broadest=(0.6, 0.51, 0.7)),
            case("tells nothing", broadest=(0.4, 0.3, 0.49)),
            case("no set of members", p=0.009),
            case("one split alarms", alarms=(16, 15)),
            case("as published", alarms=(15, 16)),
        ],
    ),
    "memorization_detected": Experiment(
        memorization_detected,
        5,
        [
            case(),
            case("from unseen captions", many=(0.94, 0.95), loss=0.93),
            case("from twins", many=(0.95, 0.94)),
            case("once-seen", ladder=((1, (0.6, 0.51, 0.7)), (64, (0.7,)))),
            case("once-seen", ladder=((1, (0.4, 0.3, 0.49)), (64, (0.7,)))),
            case("never falls", ladder=((1, (0.5, 0.4, 0.6)), (4, (0.95,)), (64, (0.9,)))),
            case("never falls", "once-seen", ladder=((64, (0.9,)),)),
            case(ladder=((1, (0.5, 0.4, 0.6)), (64, (0.7,)))),
            case("does better than the loss", loss=0.95),
        ],
    ),
    "memorization_in_the_picture": Experiment(
        memorization_in_the_picture,
        4,
        [
            case(),
            case("fixed region", inside=0.89),
            case("bright ending finds", bright=0.5),
            case("the difference", prompts=0.5),
            case("bright ending overlaps", overlap=0.4),
        ],
    ),
    "memorization_located": Experiment(
        memorization_located,
        12,
        [
            case(),
            case("practically any start", rates={("nothing", "gaussian"): 0.89}),
            case("under NeMo", rates={("nemo", "captions"): 0.89}),
            case("than starts", apart=(10.0, 10.1, 10.5)),
            case("nor than prompts", apart=(10.1, 10.0, 10.5)),
            case("moved at random", apart=(10.0, 10.0, 11.0)),
            case("its own start", nearest=0.99),
            case("share no direction", moves=((0.1, 0.001, 0.2), (0.0, 0.0, 0.0))),
            case("share no direction", moves=((0.0, 0.0, 0.0), (-0.1, -0.2, -0.001))),
            case("half to twice", said=((4.9, 20.0), (10.0, 11.0))),
            case("half to twice", said=((5.0, 20.5), (10.0, 11.0))),
            case("in feed-forward layers", like_random=10.1),
            case("NeMo's choices", agree=(0.1, 0.11)),
            case("Wanda's do", agree=(0.11, 0.1)),
            case("NeMo's choices", agree=(None, 0.11)),
            case("agree no better", ours=0.31),
        ],
    ),
    "measures_evaluated": Experiment(
        measures_evaluated,
        8,
        [
            case(),
            case("best copy", best=(0.89, 0.95, 0.95), imagenet=0.5),
            case("best detector", best=(0.95, 0.89, 0.95)),
            case("best membership", best=(0.95, 0.95, 0.89)),
            case("ImageNet", imagenet=0.91),
            case("8 bits", fine=-0.052),
            case("4 bits", coarse=0.7),
            case("longest relearning", relearned=-0.052),
            case("another sampler", drawn=-0.052),
            case("another sampler", drawn=0.052),
        ],
    ),
    "memorization_planted": Experiment(
        memorization_planted,
        4,
        [
            case(),
            case(ladder=((1, 0.1), (256, 0.9))),
            case(says=3, unique=None),
            case(says=3, twin=None),
            case("most repeated", ladder=((1, 0.1), (64, 0.2), (256, 0.89))),
            case("seen once", unique=0.021),
            case("never-trained", twin=0.021),
            case("never falls", ladder=((1, 0.95), (64, 0.9), (256, 0.92))),
            case("never falls", ladder=((256, 0.9),)),
        ],
    ),
    "model_inspected": Experiment(
        model_inspected,
        4,
        [
            case(),
            case("entropy of units", alike="unit_entropy"),
            case("information that units", alike="unit_information"),
            case("entropy of attention", alike="attention_entropy"),
            case("entropy of hidden", alike="matrix_entropy"),
            case("entropy of units", "information that", "entropy of attention", "entropy of hidden", alike="touching"),
            case(says=1, asked=("unit_entropy",)),
        ],
    ),
    "units_rank_models": Experiment(
        units_rank_models,
        25,
        [
            case(),
            *(
                case(f"{family}: {said} {way}", size={(family, reading): 0.79})
                for family, ways in ((NOISY, ("rises", "falls")), (CUED, ("falls", "rises")))
                for reading, said, way in zip(READINGS, SAID, (ways[0], ways[1], ways[1]), strict=True)
            ),
            *(
                case(f"{family}: {said} {way} with memorization{where}:", **{changed: {(family, reading): 0.0}})
                for changed, where in (("ends", ""), ("own", ", at own drawings"))
                for family in (COPYING if changed == "ends" else COPYING[:2])
                for reading, said, way in zip(READINGS, SAID, ("rises", "falls", "falls"), strict=True)
            ),
            *(case(f"{family}: the least", copies={family: 0.49}) for family in COPYING),
            case("never trained", control=(0.01, 0.1)),
            case("never trained", control=(-0.1, -0.01)),
            case(control=(-0.1, 0.0)),
            case(says=4, whole=False),
        ],
    ),
    "memorization_predicted": Experiment(
        memorization_predicted,
        31,
        [
            case(),
            case("labels are memorized in the end", psmi={0: 0.79}),
            case("labels are wrong", psmi={1: 0.89}),
            case("digits a denoiser", psmi={2: 0.5}),
            case("answers are memorized in the end", psmi={3: 0.79}),
            case("answers are wrong", psmi={4: 0.89}),
            case("copies differ: interval", psmi={5: 0.5}),
            case("equal copies: interval", psmi={6: 0.5}),
            *(
                case(f"{what} better than {rival}:", gaps={(subject, rival): 0.0})
                for subject, what in (
                    ("classifiers", "memorized labels"),
                    ("language models", "memorized answers"),
                    ("denoisers", "copies"),
                    ("pipelines", "scenes drawn again, at equal copies"),
                )
                for rival in RIVALS[subject]
            ),
            case("a high loss", loss=0.5),
            *(
                case(f"the loss tells scenes drawn again, at equal copies better than {rival}:", losses={rival: 0.0})
                for rival in LOSS_RIVALS
            ),
            case("random numbers", chance=(0.51, 0.6)),
            case("random numbers", chance=(0.4, 0.49)),
            case(chance=(0.4, 0.5)),
            case(says=1, whole=False),
        ],
    ),
    "pipeline_audited": Experiment(pipeline_audited, 1, [case(), case("no caption", prompts=0.1)]),
    "prunable": Experiment(
        prunable,
        3,
        [
            case(),
            case(BOTH, cells={JOINT: SHARED}),
            case(NONE, cells={PLANTED: LOCAL}, shares={PLANTED: 0.52}),
            case(NONE, shares={PLANTED: 0.5, LOST: 0.5}),
            *(
                case(SOME, BOTH, cells={FROZEN: LOCAL | one, JOINT: LOCAL | one})
                for one in ({"nothing": 0.5, "nemo": 0.1}, {"nemo": 0.22}, {"random_neurons": 0.21}, {"cost": 1.02})
            ),
        ],
    ),
    "pictures_isolated": Experiment(
        pictures_isolated,
        28,
        [
            case(),
            case("next to no twin", twins=0.11),
            case("the drop costs little", costs=(1.021, 0.01)),
            case("general units dropped cost", costs=(1.02, 0.0)),
            *(
                made
                for kind in ("scene", "emoji")
                for made in (
                    case(f"{kind}, standard: more than half", prompted={(kind, "standard"): 0.5}),
                    case(f"{kind}, own sinks on: more than half", prompted={(kind, "own sinks on"): 0.5}),
                    case(f"{kind}, sinks dropped: next to none", prompted={(kind, "sinks dropped"): 0.11}),
                    case(f"{kind}: the drop closes more than half", closed={kind: 0.5}),
                    case(f"{kind}: a search writes", oracle={kind: 0.11}),
                    case(f"{kind}: relearning leaves more than half", taught={kind: 0.5}),
                    *(
                        case(f"{kind}: the drop closes more of the gap than {less}", gaps={(kind, less): 0.0})
                        for less in ("sinks drawn anew, dropped", *PRUNINGS)
                    ),
                )
            ),
            *(
                made
                for attack in ("search for embeddings", "relearning")
                for made in (
                    case(f"{attack}: of sinks dropped next to none", back={(attack, SINKS[0]): 0.1}),
                    *(case(f"{attack}: more comes back of {of} than", back={(attack, of): 0.0}) for of in PRUNINGS),
                )
            ),
            case("relearning: of sinks cut out next to none", back={("relearning", SINKS[1]): 0.1}),
        ],
    ),
    "pruning_attacked": Experiment(
        pruning_attacked,
        8,
        [
            case(),
            case(loss=0.9),
            case("without a defense the most", rates={("nothing", PROMPT): 0.89}),
            case("NeMo stops", rates={("nemo", PROMPT): 0.4}),
            case("as many random", rates={("random_neurons", PROMPT): 0.39}),
            case("lies within its interval", loss=1.11),
            case("lies within its interval", loss=0.89),
            case("picture by picture", ratio=1.01),
            case("Dori brings", rates={DORI: 0.5}),
            case("a random step", rates={STEP: 0.5}),
            case("no control", oracle=0.105),
            case("no control", never=0.105),
        ],
    ),
    "regime": Experiment(
        regime,
        5,
        [
            case(),
            case(cells={CLIP: BACK | {"cost": 1.02}}),
            case("some cell", "Dori brings", cells=dict.fromkeys((FIRST, CLIP), BACK | {"nothing": 0.5, "nemo": 0.1})),
            case("trained along", cells={ALONG: BACK}),
            case("large share", cells={LARGE: BACK}),
            case("Dori brings", cells={FIRST: BACK | {"back": 0.25}}),
            case("Dori brings", cells={CLIP: BACK | {"searched": 0.105}}),
            case("by its prompt", cells={ALONG: BACK | {"nemo": 0.54, "oracle": 0.105}}),
            case("by its prompt", cells={CLIP: BACK | {"twin": 0.105}}),
            *(
                case("some cell", "Dori brings", cells={FIRST: BACK | one, CLIP: BACK | one})
                for one in ({"nemo": 0.22}, {"random_neurons": 0.21}, {"cost": 1.02})
            ),
        ],
    ),
}


@pytest.mark.parametrize(("name", "one"), flat(EXPERIMENTS))
def test_claims_say_what_the_rows_show(name: str, one: Case):
    said = claims_of("diffusion", name)(EXPERIMENTS[name].build(**one.changes))
    assert agrees(EXPERIMENTS[name], one, said), said


def test_what_no_claim_could_judge_is_refused():
    budget = importlib.import_module("experiments.diffusion.attack_budget")
    detected = importlib.import_module("experiments.diffusion.memorization_detected")
    with pytest.raises(InputError, match="at least one rate"):
        replace(budget.SMOKE, rates=())
    with pytest.raises(InputError, match="after 51 steps"):
        replace(budget.SMOKE, dori=budget.Dori(keep=(51,)))
    with pytest.raises(InputError, match="64 times"):
        replace(detected.SMOKE, plan=detected.Plan(ladder=(1, 63)))
    replace(budget.SMOKE, dori=budget.Dori(keep=(50,)))
    replace(detected.SMOKE, plan=detected.Plan(ladder=(64,)))
