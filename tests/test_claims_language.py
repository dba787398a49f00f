"""What the claims of experiments/language say of rows made by hand; a boundary is met from both sides."""

import math

import pytest
from handmade import Case, Experiment, agrees, case, claims_of, flat, row

LICENCES, OTHER_WORDS = "licences", "licences in other words"
SHUFFLED, NEWER = "licences shuffled", "newer than the model"


def licences_recited(long=None, short=0.1, runs=None, gap=0.5, mixed=4.0):
    """From 10, 50 and 25 tokens; how long the runs of right tokens are."""
    none = (0.0, 0.0, 0.2)
    last = {LICENCES: (0.5, 0.3, 0.7), NEWER: none, SHUFFLED: none, OTHER_WORDS: none}
    rows = []
    for kind, ends in (last | (long or {})).items():
        for prefix, found in ((10, (short, 0.0, 0.6)), (50, ends), (25, (0.9, 0.8, 1.0))):
            rows.append(row("extracted_fraction", *found, method="exact", texts=kind, prefix=prefix))
        rows.append(row("extracted_fraction", 0.9, 0.8, 1.0, method="approximate", texts=kind, prefix=100))
    size = {LICENCES: (9.0, 8.0, 10.0), NEWER: (3.0, 2.0, 4.0), SHUFFLED: (2.0, 1.0, 2.0), OTHER_WORDS: (3.0, 2.0, 4.0)}
    for kind, ends in (size | (runs or {})).items():
        rows.append(row("longest_run_size", *ends, texts=kind, statistic="mean"))
        rows.append(row("longest_run_size", 99.0, texts=kind, statistic="largest"))
    if gap is not None:
        rows.append(row("longest_run_difference", 5.0, gap, 9.0, of=LICENCES, against=OTHER_WORDS))
    rows.append(row("longest_run_difference", 2.0, 1.0, 3.9, of=NEWER, against="newer, shuffled"))
    return [*rows, row("longest_run_difference", 5.0, mixed, 6.0, of=LICENCES, against=SHUFFLED)]


def text_extracted(back=(0.0, 0.0), best=(0.6, 0.55, 0.7), broadest=(0.5, 0.4, 0.6), p=0.01, alarms=(15, 15)):
    """Of texts with one copy and with many; twins may be guessed. Alarms of 1,000 null sets in two rows."""
    rows = []
    for place, (copies, blind, score) in enumerate(
        (("1 copy", broadest, (0.5, 0.4, 0.6)), ("256 copies", (0.51, 0.5, 0.55), best))
    ):
        rows.append(row("extracted_fraction", back[place], method="exact", prefix=50, texts=copies))
        rows.append(row("extracted_fraction", 0.5, method="approximate", prefix=50, texts=copies))
        for method, ends in (("loss", score), ("blind", blind)):
            rows.append(row("auc", *ends, method=method, copies=copies, against="twins", drawn_alike=True))
    rows.append(row("extracted_fraction", 0.2, method="exact", prefix=50, texts="twins"))
    for test, mean, false in (("one split", p, alarms[0]), ("five folds", 0.001, alarms[1])):
        for copies, value in (("1 copy", 0.5), ("256 copies", mean)):
            rows.append(row("mean_p_value", value, test=test, copies=copies, against="twins", sample=10))
        for size, count in ((10, false), (30, 5)):
            false_alarms = row("false_alarm_fraction", count / 500, test=test, against="twins", sample=size)
            rows.append(false_alarms._replace(n=500))
    return rows


KINDS = ("natural", "random", "template")
DIFFERENCES = {"reference": 0.01, "timing": 0.01, "dilution": -0.01, "interference": (0.0, 0.1)}


def text_memorized(
    never=(0.42, 0.58), blind=0.5, twins=(0.0, 0.0), controls=None, ladder=None, back=None, differences=None
):
    """Rungs stand in the wrong order; what is given of a kind replaces what is measured of it."""
    rows, measured = [], DIFFERENCES | (differences or {})
    for kind in KINDS:
        areas = {256: (1.0, 1.0, 1.0), 4: (0.7, 0.6, 0.8), 0: (0.5, 0.4, 0.6), 16: (0.95, 0.8, 1.0)}
        for copies, ends in (areas | (ladder or {}).get(kind, {})).items():
            rows.append(row("auc", *ends, method="loss", kind=kind, copies=copies))
            if copies:
                rows.append(row("auc", 0.3, 0.2, 0.4, method="zlib", kind=kind, copies=copies))
        for value in never:
            rows.append(row("auc", value, method="min_k", kind=kind, copies=0))
        rows.append(row("blind_auc", 0.6, blind if kind == "random" else 0.4, 0.7, kind=kind))
        for prefix, most, guessed in ((16, (back or {}).get(kind, 0.6), twins[kind == "random"]), (4, 0.1, 0.3)):
            for role, copies, value in (
                ("repeated", 256, most),
                ("repeated", 16, 0.1),
                ("repeated", 4, 0.0),
                ("twin", 0, guessed),
            ):
                setting = {"method": "exact", "prefix": prefix, "kind": kind, "texts": role, "copies": copies}
                rows.append(row("extracted_fraction", value, **setting))
        rows.append(
            row("extracted_fraction", 0.0, method="extraction_strength", kind=kind, texts="repeated", copies=256)
        )
    ends = dict.fromkeys(("0 copies", "never trained", "shuffled labels"), ((0.5, 0.5, 0.6), (0.5, 0.4, 0.5)))
    for name, (first, second) in (ends | (controls or {})).items():
        rows.append(row("control_auc", *first, method="loss", control=name))
        rows.append(row("control_auc", *second, method="zlib", control=name))
    if measured["reference"] is not None:
        rows.append(row("reference_difference", 0.1, measured["reference"], 0.2, copies=1))
        rows.append(row("timing_difference", 0.1, measured["timing"], 0.2, copies=16))
    for of, copies in (("auc", 4), ("exact", 4), ("auc", 16)):
        asked = (of, copies) == ("auc", 4)
        low, high = measured["interference"] if asked else (0.2, 0.4)
        rows.append(row("interference_difference", (low + high) / 2, low, high, of=of, copies=copies))
        high = measured["dilution"] if asked else 0.3
        rows.append(row("dilution_difference", -0.3, -0.4, high, of=of, copies=copies))
    return rows


SMALL, WIDE = 8, 16
ERRORS = {("peak", "exact lengths"): (0.69, -0.01), ("half way", "raw lengths"): (0.69, -0.01)}


def text_capacity(
    chance=0.0095,
    kept=None,
    larger=None,
    longer=1.09,
    ratios=(2.0, 2.49),
    law=(0.51, 0.49, 0.49, 0.51),
    half=((8, 4, 90.0, 80.0, 99.0), (16, 4, 150.0, 100.0, 200.0)),
    peak=-0.01,
    errors=ERRORS,
):
    """Of two widths and two laws; the narrower width is the first."""
    rows = []
    smallest, ends = {SMALL: 0.95, WIDE: 0.95} | (kept or {}), {SMALL: 1.04, WIDE: 1.04} | (larger or {})
    for width, (least, most) in ((SMALL, (ratios[0], 2.2)), (WIDE, (2.1, ratios[1]))):
        rows.append(row("chance_fraction", 0.0, 0.0, chance if width == WIDE else 0.0, branches=0, width=width))
        rows.append(row("chance_fraction", 0.5, branches=4, width=width))
        for texts, low in ((10, smallest[width]), (20, 0.1)):
            rows.append(row("kept_fraction", 0.96, low, 1.0, width=width, branches=0, texts=texts))
        rows.append(row("larger_ratio", 0.9, 0.8, ends[width], width=width))
        rows.append(row("capacity_ratio", 2.15, least, most, width=width))
    if longer is not None:
        rows.append(row("longer_ratio", 1.0, 0.9, longer, width=WIDE))
    # Low of what must be more than half, high of what must be less: held of few, learned of few, of many.
    few_held, few_learned, many_held, many_learned = law
    for width in (SMALL, WIDE):
        here = {"width": width, "branches": 4}
        own = width == SMALL
        rows += [
            row("kept_fraction", 0.9, few_held if own else 0.8, 1.0, texts=10, **here),
            row("kept_fraction", 0.5, 0.2, 0.8, texts=20, **here),
            row("kept_fraction", 0.1, 0.0, many_held if own else 0.2, texts=40, **here),
            row("learned_fraction", 0.1, 0.0, few_learned if own else 0.2, texts=10, **here),
            row("learned_fraction", 0.5, 0.2, 0.8, texts=20, **here),
            row("learned_fraction", 0.9, many_learned if own else 0.8, 1.0, texts=40, **here),
        ]
    found = {"by": "found", "point": "half way"}
    for width, branches, *interval in half:
        rows.append(row("crossover_size", *interval, width=width, branches=branches, **found))
    rows.append(row("crossover_size", 20.0, 10.0, 30.0, width=WIDE, branches=8, **found))
    rows.append(row("crossover_size", 1.0, width=WIDE, branches=4, by="found", point="peak"))
    if peak is not None:
        rows.append(row("log_size_difference", -0.5, -0.9, peak, point="peak", branches=8, against=4))
    for (point, prediction), (high, better) in errors.items():
        for capacity, shift in (("measured", 0.0), ("3.6 bits a parameter", 5.0)):
            here = {"point": point, "prediction": prediction, "capacity": capacity}
            rows.append(row("log_error_distance", 0.3, 0.1, high + shift, **here))
            against = "texts a parameter of other settings"
            rows.append(row("better_difference", -0.3, -0.6, better + shift, **here, against=against))
            rows.append(row("better_difference", 0.3, 0.1, 0.6, **here, against="anything else"))
    return [*rows, row("log_error_distance", 2.0, 1.0, 3.0, point="peak", prediction="other settings")]


UNSEEN, TWINS, SHOWN = "control against its twins", "twins against the control's", "injected against control"


def text_in_time(
    gaps=None,
    shown=("random", 800, 0.1),
    ladder=None,
    ends=None,
    exposures=((16, 50.0, 45.0, 60.0), (32, 30.0, 20.0, 44.0)),
):
    """Of one width and both kinds after two checkpoints."""
    rows = []
    between = {UNSEEN: (-0.1, 0.0), TWINS: (-0.2, 0.0)} | (gaps or {})
    for kind in ("natural", "random"):
        for step in (100, 800):
            here = {"kind": kind, "checkpoint": step}
            for of, ends_of in between.items():
                low, high = ends_of if (kind, step) == ("random", 800) else (0.0, 0.0)
                rows.append(row("verbatim_difference", (low + high) / 2, low, high, of=of, **here))
            low = shown[2] if (kind, step) == shown[:2] else 0.1
            rows.append(row("verbatim_difference", 1.0, low, 3.0, of=SHOWN, **here))
            runs = ladder or ((0, 0.5, 0.0, 1.0), (4, 2.0, 1.0, 3.0), (64, 1.0, 0.5, 1.0))
            for copies, *interval in runs if kind == "random" else ((0, 0.5, 0.0, 9.0), (64, 1.0, 0.5, 9.0)):
                rows.append(row("verbatim_size", *interval, model="injected", width=16, copies=copies, **here))
            rows.append(
                row("verbatim_size", 0.0, model="nothing injected", kind=kind, width=16, checkpoint=step, copies=4)
            )
    last = {"late": 0.1, "highest": 0.1, "over": -0.1, "kept": 0.1} | (ends or {})
    for kind in ("natural", "random"):
        low = {name: value if kind == "random" else -value for name, value in last.items() if value is not None}
        if "late" in low:
            rows.append(row("late_difference", 1.0, low["late"], 2.0, kind=kind, copies=64))
        rows.append(row("highest_difference", 1.0, low["highest"], 2.0, kind=kind, width=16))
        rows.append(row("over_half_difference", -1.0, -2.0, low["over"], kind=kind, width=16))
        rows.append(row("kept_difference", 0.5, 0.4, 0.6, kind=kind, width=16))
        rows.append(row("kept_by_width_difference", 1.0, low["kept"], 2.0, kind=kind))
    for width, *interval in exposures:
        rows.append(row("exposures_count", *interval, kind="random", width=width))
    rows.append(row("exposures_count", 99.0, kind="natural", width=64))
    return rows


SIZES = (("nano", "tiny"), ("tiny", "small"))


def text_by_size(twins=(0.0, 0.0), grown=None, chance=None, gained=None, lost=None, unsure=0.01, surer=None, jump=None):
    """By pair of sizes ends of intervals; no loss from nano to tiny, and nano memorizes nothing."""
    rows = [row("memorized_fraction", 0.9, size="small", texts="repeated", copies=64)]
    rows += [row("memorized_fraction", value, size="nano", texts="twin", copies=0) for value in twins]
    for first, second in SIZES:
        pair = {"smaller": first, "larger": second}
        last = second == "small"
        rows.append(row("memorized_difference", 0.3, (grown or {}).get(second, 0.01), 0.6, **pair, to="the larger"))
        low, high = (chance or (0.0, 0.1)) if last else (0.2, 0.4)
        setting = {**pair, "to": "another of the smaller size"}
        rows.append(row("memorized_difference", (low + high) / 2, low, high, **setting))
        rows.append(row("gained_difference", 0.5, (gained or {}).get(second, 0.01), 0.9, **pair))
        rows.append(row("lost_worlds_count", float(last), **pair))
        if last:
            rows.append(row("lost_difference", -0.5, -0.9, -0.01 if lost is None else lost, **pair))
            if unsure is not None:
                rows.append(row("lost_entropy_difference", 0.5, unsure, 0.9, **pair))
    for size, place in (("tiny", 0), ("small", 1)):
        high = -0.01 if surer is None else surer[place]
        rows.append(
            row("continuation_entropy_difference", -1.0, -2.0, high, size=size, of="memorized", against="twins")
        )
        high = -0.01 if jump is None else jump[place]
        rows.append(row("boundary_difference", -1.0, -2.0, high, size=size, of="memorized"))
    return rows


NEEDS = ("input words used", "input words told", "spread of attention")


def text_by_task(unseen=0.0, before=0.0, learned=0.9, ranks=None, gaps=(0.01, 0.01), left_out=()):
    """Of a summary and of nothing at two places; the one place that is not claimed of is full of failures."""
    rows = []
    for at in ("equal validation loss", "last step"):
        rows += [row("extracted_fraction", 0.5, task=task, texts="seen", at=at) for task in ("summary", "nothing")]
        rows.append(row("extracted_fraction", unseen, task="summary", texts="unseen", at=at))
        rows.append(row("extracted_fraction", 0.0, task="nothing", texts="unseen", at=at))
        rows.append(row("accuracy_fraction", learned if at == "last step" else 0.1, task="summary", at=at))
        rows.append(row("accuracy_fraction", 1.0, task="topic", at=at))
        claimed = at == "equal validation loss"
        for by in set(NEEDS) - set(left_out):
            low = (ranks or {}).get(by, 0.01) if claimed else -0.5
            rows.append(row("rank_correlation", 0.5, low, 0.9, by=by, at=at))
        for other, low in zip(("sentiment", "translation"), gaps, strict=True):
            setting = {"task": "summary", "against": other, "at": at}
            rows.append(row("extracted_difference", 0.2, low if claimed else -0.5, 0.5, **setting))
        rows.append(row("extracted_difference", -0.2, -0.5, 0.5, task="summary", against="nothing", at=at))
    rows.append(row("extracted_fraction", before, task="summary", texts="seen", at="before"))
    rows.append(row("extracted_fraction", 0.0, task="nothing", texts="seen", at="before"))
    return [*rows, row("accuracy_fraction", 0.0, task="summary", at="before")]


def term_normalization(untrained=0.05, changed=None, mentions=(0.01, 0.01), left_out=False):
    """Of two numbers of mentions, compared after 4 exposures and after 32; what is not claimed of fails."""
    rows = [row("untrained_fraction", 0.0, 0.0, high, kind="arbitrary") for high in (0.0, untrained)]
    ends = {("gained", "arbitrary", n, 32): (0.01, 0.9) for n in (0, 128)}
    ends |= {("chance", "arbitrary", n, times): (-0.05, 0.05) for n in (0, 128) for times in (4, 32)}
    ends |= {("chance", "composed", 128, times): (0.11, 0.9) for times in (4, 32)}
    for kind, role, low in (("arbitrary", "fine-tuned", mentions[0]), ("composed", "held out", mentions[1])):
        for times in (32, 4):
            for terms in ("fine-tuned", "held out"):
                asked = terms == role and times == 4
                setting = {"kind": kind, "terms": terms, "exposures": times}
                if not left_out:
                    rows.append(row("mentions_difference", 0.5, low if asked else -0.5, 0.9, **setting))
                for n in (0, 128):
                    here = {**setting, "mentions": n}
                    rows.append(row("accuracy_fraction", 0.5, 0.4, 0.6, after="a question", **here))
                    rows.append(row("accuracy_fraction", 0.1, 0.0, 0.2, after="a mention", **here))
            for n in (0, 128):
                here = {"kind": kind, "mentions": n, "exposures": times}
                for metric in ("gained", "chance"):
                    least, most = (ends | (changed or {})).get((metric, kind, n, times), (-0.5, 0.9))
                    rows.append(row(f"{metric}_difference", (least + most) / 2, least, most, **here))
    return rows


def idiom_understanding(
    untrained=(0.11, 0.29), never=(0.11, 0.29), composed=0.31, wrong=0.29, copies=0.01, same=(-0.09, 0.09), clue=0.01,
    gain=0.01, left_out=False,
):  # fmt: skip
    """Of phrases never met, with 4 and with 256 copies; what is not claimed of fails."""
    rows = []
    for kind in ("arbitrary", "composed"):
        for context in ("alone", "clue", "clue of another"):
            for n in (0, 4, 256):
                here = {"kind": kind, "copies": n, "context": context}
                asked = context == "alone" and n == 0
                low, high = untrained if asked and kind == "composed" else (0.11, 0.29) if asked else (0.0, 1.0)
                rows.append(row("untrained_fraction", 0.2, low, high, **here))
                low, high = 0.0, 1.0
                if n == 0 and kind == "arbitrary":
                    low, high = {"alone": never, "clue of another": (0.0, wrong)}.get(context, (0.0, 1.0))
                elif asked:
                    low = composed
                rows.append(row("choice_fraction", (low + high) / 2, low, high, **here))
            low, high = (-0.5, 0.5) if context != "alone" else (copies, 0.5) if kind == "arbitrary" else same
            rows.append(row("copies_difference", (low + high) / 2, low, high, kind=kind, context=context))
        for n in (0, 4):
            low = clue if (kind, n) == ("arbitrary", 0) else -0.5
            rows.append(row("clue_difference", 0.5, low, 0.9, kind=kind, copies=n))
    return rows if left_out else [*rows, row("clue_gain_difference", 0.5, gain, 0.9, copies=4)]


ONE_WORDING, SEVERAL_WORDINGS = "one wording", "several wordings"


def scenario_cognition(
    recited=None, never=None, gap=0.01, closed=0.09, told=0.01, probes=0.01, exchanged=None, left_out=False
):
    """After 64 exposures and after 256; what is not claimed of fails."""
    rows = []
    for model in (ONE_WORDING, SEVERAL_WORDINGS):
        for times in (256, 64):
            low = (recited or {}).get(model, 0.95) if times == 256 else 0.1
            high = (never or {}).get(model, 0.24) if times == 256 else 0.9
            rows.append(row("right_fraction", 0.96, low, 1.0, model=model, of="recited", exposures=times))
            rows.append(row("right_fraction", 0.5, 0.4, 0.6, model=model, of="asked", exposures=times))
            rows.append(row("right_fraction", 0.1, 0.0, high, model=model, of="never described", exposures=times))
            for place in ("after the name", "after the role"):
                claimed = times == 256 and place == "after the role"
                high = (exchanged or {}).get(model, 0.24) if claimed else 0.9
                here = {"model": model, "place": place, "exposures": times}
                rows.append(row("probe_fraction", 0.1, 0.0, high, exchanged=True, **here))
                rows.append(row("probe_fraction", 0.5, 0.0, 0.9, exchanged=False, **here))
    rows.append(row("recited_difference", 0.5, gap, 0.9, model=ONE_WORDING))
    rows.append(row("recited_difference", 0.0, -0.5, closed, model=SEVERAL_WORDINGS))
    rows.append(row("probe_difference", 0.0, -0.5, 0.5, place="after the name"))
    rows.append(row("probe_difference", 0.5, probes, 0.9, place="after the role"))
    return rows if left_out else [*rows, row("wordings_difference", 0.5, told, 0.9, of="asked")]


def finetuning_methods(control=None, unseen=0.0, gaps=None, growth=None, sizes=0.01, left_out=False, reached=0.25):
    """Of two models, at two gains of which prompts reach only the lower one; ends by what differs."""
    rows = []
    for size in ("nano", "tiny"):
        low, high = (control or {}).get(size, (0.5, 0.5))
        rows.append(row("control_auc", (low + high) / 2, low, high, size=size, score="loss"))
        rows.append(row("control_auc", 0.5, 0.4, 0.6, size=size, score="zlib"))
        for gain in (0.25, 0.5):
            for of in ("weights over prompts", "projections over attention", "reference over loss"):
                if of == "weights over prompts" and (gain == 0.5 or left_out):
                    continue
                low = (gaps or {}).get((of, size, gain), 0.01)
                rows.append(row("auc_difference", 0.3, low, 0.5, of=of, size=size, gain=gain))
        for method in ("full", "head", "LoRA on both"):
            low = (growth or {}).get((method, size), 0.01)
            rows.append(row("growth_difference", 0.2, low if method != "head" else -0.1, 0.5, method=method, size=size))
        for method in ("prefix", "prompt", "P-tuning"):
            high = (growth or {}).get((method, size), 0.09)
            rows.append(row("growth_difference", 0.0, -0.1, high, method=method, size=size))
            rows.append(row("reached_fraction", reached, method=method, size=size, gain=0.25))
            rows.append(row("reached_fraction", 0.0, method=method, size=size, gain=0.5))
        rows.append(row("reached_fraction", 1.0, method="full", size=size, gain=0.25))
        rows.append(row("reached_fraction", 1.0, method="head", size=size, gain=0.25))
        back = {"method": "full", "size": size, "epoch": 24}
        rows.append(row("extracted_fraction", unseen if size == "tiny" else 0.0, **back, texts="unseen"))
        rows.append(row("extracted_fraction", 0.5, **back, texts="seen"))
    for method, low in (("full", sizes), ("prompt", -0.1)):
        rows.append(row("size_difference", 0.2, low, 0.4, method=method, size="tiny", against="nano", gain=0.25))
    return rows


TEACHER, ON_LOGITS, ON_FEATURES = "teacher", "logits", "features"


def distillation_leak(
    guessed=0.0, oracle=(0.4, 0.5), written=None, taught=0.51, held=None, sampled=None, word_for_word=None, passed=None
):
    """Both kinds; of the most copies, 128, and of 16, which no claim is about. Ends by kind and channel."""
    rows = []
    for channel, (low, high) in (("nothing", (0.4, 0.6)), (ON_LOGITS, oracle)):
        here = {"channel": channel, "teacher": "oracle", "kind": "natural"}
        rows.append(row("repeated_auc", (low + high) / 2, low, high, **here))
    rows.append(row("repeated_auc", 0.9, 0.8, 1.0, channel=ON_LOGITS, teacher="model", kind="natural"))
    for kind in ("natural", "random"):
        for texts in ("repeated", "twin"):
            value = (written or {}).get((kind, texts), 0.0)
            rows.append(row("written_fraction", value, value, value, teacher="oracle", kind=kind, texts=texts))
        low = (held or {}).get(kind, 0.01)
        rows.append(row("written_fraction", 0.1, low, 0.2, teacher="model", kind=kind, texts="repeated"))
        rows.append(row("written_fraction", 0.1, 0.0, 0.2, teacher="model", kind=kind, texts="twin"))
        back = {TEACHER: taught, "sampled texts": 0.5} | {
            channel: (word_for_word or {}).get((kind, channel), 0.0)
            for learned in (ON_LOGITS, ON_FEATURES)
            for channel in (learned, f"{learned}, same first weights")
        }
        for channel, value in back.items():
            low = (sampled or {}).get(kind, 0.01) if channel == "sampled texts" else value
            here = {"channel": channel, "kind": kind}
            for copies, share in ((16, 0.5), (128, value)):
                ends = (share, low if copies == 128 else share, share)
                rows.append(row("extracted_fraction", *ends, **here, teacher="model", texts="repeated", copies=copies))
            rows.append(row("extracted_fraction", 1.0, **here, teacher="oracle", texts="repeated", copies=128))
            twins = guessed if channel == TEACHER else 0.0
            rows.append(row("extracted_fraction", twins, **here, teacher="model", texts="twin", copies=0))
        for learned in (ON_LOGITS, ON_FEATURES):
            gap, ratio, weights = (passed or {}).get((kind, learned), (0.01, 0.09, 0.01))
            here = {"channel": learned, "kind": kind}
            rows.append(row("passed_difference", 0.5, gap, 0.9, **here))
            rows.append(row("passed_ratio", 0.05, -0.1, ratio, **here))
            rows.append(row("weights_difference", 0.5, weights, 0.9, **here))
        for channel in ("sampled texts", f"{ON_LOGITS}, same first weights"):
            rows.append(row("passed_ratio", 0.9, 0.8, 1.0, channel=channel, kind=kind))
    return rows


PICTURES = (-0.3, -0.5, -0.1)


NEEDED = {("PNG bytes", "own"): (1.01, 1.5), ("PNG bytes", "exchanged at equal copies"): (1.0, 1.1),
          ("exact law", "own"): (1.01, 1.5), ("exact law", "exchanged at equal copies"): (0.9, 1.0)}  # fmt: skip


def entropy_law(
    once=0.9, unseen=0.9, differences=None, false=None, found=None, pictures=PICTURES, needed=None, twins=0.01
):
    """r of pools of texts seen at most once; what other populations add to it; alarms by slopes."""
    rows = [
        row("law_correlation", 1.0, value, 1.0, texts=texts, of=of)
        for texts, of, value in (
            ("seen at most once", "pools", once),
            ("seen at most once", "texts", 0.1),
            ("and gibberish never seen", "pools", unseen),
            ("and memorized gibberish", "pools", 0.1),
        )
        if value is not None
    ]
    ends = {"pools less texts": (0.5, 0.1, 0.9), "with memorized gibberish": (-0.5, -0.9, -0.1)}
    for of, interval in (ends | {"with gibberish never seen": (0.0, -0.1, 0.1)} | (differences or {})).items():
        if interval is not None:
            rows.append(row("correlation_difference", *interval, of=of))
    for slopes in ("one slope", "own slopes"):
        wrong = (0.02, (false or {}).get(slopes, 0.01), 0.05)
        rows.append(row("false_alarm_fraction", *wrong, slopes=slopes, kind="natural"))
        for copies, low in ((64, (found or {}).get(slopes, 0.51)), (4, 0.0)):
            rows.append(row("alarm_fraction", 0.8, low, 0.9, slopes=slopes, kind="natural", copies=copies))
    if pictures:
        rows.append(row("picture_correlation", *pictures, of="likeness by PNG bytes", copies_from=1))
    for (by, lengths), (low, high) in (NEEDED | (needed or {})).items():
        rows.append(row("needed_ratio", (low + high) / 2, low, high, by=by, lengths=lengths))
    for copies, low in ((0, twins), (32, 0.4)):
        rows.append(row("drawn_fraction", 0.5, low, 0.6, copies=copies))
    return [*rows, row("picture_correlation", 0.5, 0.4, 0.6, of="likeness by PNG bytes", copies_from=64)]


CHARTED = ("natural", "random")


def data_cartography(
    events=None, drop=None, apart=None, early=(0.49, 0.51), chance=None, blind=0.5, twin=0.0, pruned=None, half=0.01,
    worse=1.02, whole=True,
):  # fmt: skip
    """By kind; what is given of a signal is the end of its interval that counts."""
    rows, own = [], "its own domain"
    for kind in CHARTED:
        for against in ("all that stand once", own):
            low = (events or {}).get(kind, 0.51)
            rows.append(row("auc", 0.95, low, 0.99, signal="forget events", kind=kind, against=against))
            low = (drop or {}).get(kind, 0.91)
            rows.append(
                row("auc", 0.97, low if against == own else 0.2, 0.99, signal="loss drop", kind=kind, against=against)
            )
        for against, ends in (("all that stand once", (0.1, early[0])), (own, (early[1], 0.9))):
            rows.append(row("auc", sum(ends) / 2, *ends, signal="early loss", kind=kind, against=against))
        low = (apart or {}).get(kind, 0.01)
        rows.append(row("auc_difference", 0.3, low, 0.5, of="loss drop", over="forget events", kind=kind))
        ends = (0.5, 0.6) if kind == "natural" else chance or (0.4, 0.5)
        rows.append(row("control_auc", sum(ends) / 2, *ends, signal="last loss", kind=kind))
        rows.append(row("blind_auc", 0.6, blind if kind == "random" else 0.4, 0.7, kind=kind))
        for treatment, by, value in (
            ("untouched", "untouched", 0.9),
            ("pruned", "loss drop", 0.1),
            ("pruned", "random rows", 0.8),
            ("pruned", "exact duplicates", 0.05),
        ):
            setting = {"treatment": treatment, "by": by, "kind": kind}
            rows.append(row("extracted_fraction", value, texts="repeated", **setting))
            rows.append(row("extracted_fraction", twin if by == "exact duplicates" else 0.0, texts="twin", **setting))
    if not whole:
        return rows
    for by, high in {"loss drop": -0.01, "forget events": -0.01, "last loss": 0.3}.items():
        high = (pruned or {}).get(by, high)
        rows.append(row("extraction_difference", -0.5, -0.9, high, treatment="pruned", by=by, over="random rows"))
        rows.append(row("extraction_difference", 0.5, 0.2, 0.9, treatment="weighted", by=by, over="random rows"))
        rows.append(row("validation_ratio", 0.9, 0.8, worse if by == "loss drop" else 1.5, treatment="pruned", by=by))
    rows.append(row("extraction_difference", 0.5, half, 0.9, treatment="weighted", by="loss drop", over="pruned"))
    return rows


def training_charted(forgotten=0.51, drop=0.51):
    """One model; other signals count for nothing."""
    rows = [row("auc", 0.4, 0.3, 0.6, signal="last loss", kind="all", against="items that stand once")]
    for signal, low in (("forget events", forgotten), ("loss drop", drop)):
        rows.append(row("auc", 0.9, low, 0.99, signal=signal, kind="all", against="items that stand once"))
    return rows


def cartography_bounds(
    reach=0.1, rank=0.01, shuffled=(0.0, 0.1), apart=None, beyond=(0.0, 0.0), greatest=None, gaps=None, unseen=None,
    whole=True,
):  # fmt: skip
    """By how often items stand there, and by weight; what is given is the end of the interval that counts."""
    rows = [row("reach_fraction", 0.3, reach, 0.5, of="memorization"), row("reach_fraction", 0.0, of="shuffled")]
    rows.append(row("rank_similarity", 0.3, rank, 0.5, of="memorization"))
    rows.append(row("rank_similarity", -0.3, -0.5, -0.1, of="loss drop"))
    if not whole:
        return rows
    rows.append(row("rank_similarity", sum(shuffled) / 2, *shuffled, of="shuffled"))
    for copies in (4, 16):
        high, low = (apart or {}).get(copies, (0.3, 0.31))
        rows.append(row("influence_ratio", 0.1, 0.0, high, copies=copies))
        rows.append(row("memorization_ratio", 1.0, low, 2.0, copies=copies))
    for weight in (0.5, 0.0):
        for by in ("forgotten most", "of most influence", "random"):
            setting = {"weight": weight, "by": by}
            own = by == "forgotten most"
            rows.append(row("beyond_bound_fraction", beyond[weight == 0.5] if by == "random" else 0.0, **setting))
            high = (greatest or {}).get(weight, 0.99) if own else 1.1
            rows.append(row("greatest_bound_ratio", 0.9, 0.8, high, **setting))
            for over in ("all alike", "random"):
                for of in ("all items", "items that count in full"):
                    high = (gaps or {}).get((weight, of, over), -0.01) if own else 0.1
                    rows.append(row("gap_difference", -0.3, -0.5, high, **setting, over=over, training=of))
                high = (unseen or {}).get(weight, -0.01) if own and over == "random" else 0.1
                rows.append(row("test_loss_difference", -0.3, -0.5, high, **setting, over=over))
    return rows


def health_records(
    rises=None, never=(0.0, 0.0), chance=(0.0, 0.0), probes=(0.0, 0.0), unseen=(0.5, 0.5), members=0.51, collapse=0.8,
    still=(0.5, 0.5), rare=0.01, own=None, zero=True,
):  # fmt: skip
    """Planted patients with 0, 16 and 256 copies in the wrong order; or those of a user's model."""
    if own is not None:
        return _own_records(**own)
    rows, grown = [], {"T1": 0.01, "T2": 0.01} | (rises or {})
    for sensitive in ("inferable", "arbitrary"):
        last = sensitive == "arbitrary"
        for copies in (16, 256, 0) if zero else (16, 256):
            at = {"sensitive": sensitive, "copies": copies}
            ends = never if copies == 0 and last else (-0.1, 0.1)
            for test in ("T1", "T2"):
                low = grown[test] if copies == 256 and last else -0.2
                low, high = (low, 0.4) if copies else ends
                rows.append(row("rise_difference", (low + high) / 2, low, high, test=test, **at))
                low, high = chance if copies == 256 and last else (-0.1, 0.1) if copies == 256 else (0.3, 0.4)
                rows.append(row("leak_difference", (low + high) / 2, low, high, test=test, prompt="random", **at))
                rows.append(row("leak_difference", 0.5, 0.4, 0.6, test=test, prompt="first 9", **at))
            low, high = probes if copies == 256 and last else (-0.1, 0.1) if copies == 256 else (0.3, 0.4)
            rows.append(row("probe_difference", (low + high) / 2, low, high, **at))
            low = {0: unseen[0], 256: members}.get(copies, 0.2) if last else 0.6 if copies else 0.4
            high = (unseen[1] if last else 0.6) if copies == 0 else 0.9
            rows.append(row("member_auc", (low + high) / 2, low, high, **at))
            rows.append(row("told_fraction", 0.5, 0.4, 0.6, prompt="first 9", patients=f"{sensitive}, {copies} copies"))
        rows.append(row("told_fraction", 0.1, 0.0, 0.2, prompt="first 9", patients=f"{sensitive}, twins"))
    for copies in (16, 256, 0) if zero else (16, 256):
        low, high = {0: still, 256: (collapse, 1.0)}.get(copies, (0.3, 0.5))
        rows.append(row("collapse_auc", (low + high) / 2, low, high, of="arbitrary against inferable", copies=copies))
        low = rare if copies == 256 else -0.3
        rows.append(row("rare_difference", 0.3, low, 0.5, sensitive="arbitrary", copies=copies))
    return rows


def _own_records(t1=0.0, t2=0.0, probe=0.0, member=0.5, collapse=0.5):
    """Seen records of a user's model, beside unseen ones."""
    rows = [row("told_fraction", 0.5, 0.4, 0.6, prompt="first 10", patients="seen")]
    at = {"patients": "seen", "against": "unseen"}
    for test, low in (("T1", t1), ("T2", t2)):
        rows.append(row("leak_difference", 0.1, low, 0.2, test=test, prompt="first 10", **at))
        rows.append(row("leak_difference", 0.1, -0.1, 0.2, test=test, prompt="first 20", **at))
    rows.append(row("probe_difference", 0.1, probe, 0.2, **at))
    rows.append(row("member_auc", 0.6, member, 0.7, **at))
    return [*rows, row("collapse_auc", 0.6, collapse, 0.7, of="seen against unseen")]


def cross_client_memorization(
    twofold=None, excess=None, trained=None, untrained=None, more=None, near=0.01, central=None, prox=None, floor=()
):
    """Of three matches, in conditions of which claims look at some; at the floor nothing comes back on either side."""
    rows = []
    for match in MATCHES:
        for condition in ("federated", "no overlap", "more overlap"):
            asked = condition == "no overlap"
            low = (twofold or {}).get(match, 0.01) if asked else -0.2
            rows.append(row("twofold_difference", 0.2, low, 0.4, condition=condition, match=match))
            low = (trained or {}).get(match, 0.01) if asked else -0.2
            rows.append(row("trained_difference", 0.2, low, 0.4, condition=condition, match=match))
            low, high = (excess or {}).get(match, (0.0, 0.0)) if asked else (0.2, 0.4)
            rows.append(row("excess_difference", (low + high) / 2, low, high, condition=condition, match=match))
            for of, value in (("intra", 0.6), ("inter", 0.1), ("unseen", 0.1), ("untrained texts", 0.0)):
                at = {"condition": condition, "match": match, "items": "private", "of": of}
                rows.append(row("match_fraction", value, value, value, **at))
        low, high = (untrained or {}).get(match, (0.0, 0.0))
        rows.append(row("untrained_difference", (low + high) / 2, low, high, match=match))
        low = (more or {}).get(match, 0.01)
        rows.append(row("inter_difference", 0.2, low, 0.4, condition="more overlap", against="no overlap", match=match))
        low = near if match == "approximate" else -0.1
        rows.append(row("inter_difference", 0.2, low, 0.4, condition="paraphrases", against="no overlap", match=match))
        for condition, against, lows in (("federated", "centralized", central), ("FedProx", "federated", prox)):
            low = (lows or {}).get(match, 0.01)
            rows.append(row("total_difference", 0.2, low, 0.4, condition=condition, against=against, match=match))
    return [one._replace(value=0.0) if one.setting["match"] in floor else one for one in rows]


MATCHES = ("verbatim 8", "verbatim 16", "approximate")


def redundancy_and_fragility(gaps=None, more=0.5, twin=0.0, memorized=None, whole=True):
    """By what is compared and where the low end of the gap at two changed tokens; the low end with few changed ones."""
    rows = []
    for blocks in (12, 3):
        for copies in (0, 32, 128):
            value = {0: twin if blocks == 12 else 0.0, 32: 0.1, 128: (memorized or {}).get(blocks, 0.51)}[copies]
            rows.append(row("extracted_fraction", value, blocks=blocks, copies=copies, changes=0))
            rows.append(row("extracted_fraction", 0.3, blocks=blocks, copies=copies, changes=2))
            if copies and whole:
                for changes, low, high in ((1, more, 0.9), (2, 0.3, 0.5), (8, 0.5, 1.0)):
                    setting = {"blocks": blocks, "copies": copies, "changes": changes}
                    rows.append(row("broken_fraction", (low + high) / 2, low, high, **setting))
    if whole:
        for of, other, some in (("redundancy", "copies", (32, 128)), ("copies", "blocks", (12, 3))):
            for one in some:
                low = (gaps or {}).get((of, one), 0.01)
                rows.append(row("broken_difference", 0.1, low, 0.2, **{"of": of, other: one, "changes": 2}))
                rows.append(row("broken_difference", -0.1, -0.2, 0.1, **{"of": of, other: one, "changes": 8}))
    return rows


PAIRS = (("text", "gradient_ascent"), ("secret", "gradient_ascent"), ("secret", "code_eraser"))


STOP, EQUAL, TAUGHT = "stopped by the rule", "at equal utility", "relearned 5 steps"


def unlearning_attacked(
    found=1.0, twins=0.0, before=(0.51, 0.51), control=(0.0, 0.0), area=(0.5, 0.5), met=(1.0, 1.0), left=0.0,
    gains=None, gaps=None, left_out=(),
):  # fmt: skip
    """Two objectives, the second of secrets alone; what is claimed of one place alone fails at the other."""
    rows, gains = [row("found_fraction", found, kind="secret")], gains or {}
    for kind, objectives in (("text", ["gradient_ascent"]), ("secret", ["gradient_ascent", "code_eraser"])):
        for route, value in (("plain", twins if kind == "text" else 0.0), ("other prefixes", 0.1)):
            rows.append(row("extracted_fraction", value, model="planted", kind=kind, texts="unseen", route=route))
        setting = {"model": "planted", "kind": kind, "route": "plain"}
        rows.append(row("extracted_fraction", 0.8, before[kind == "secret"], 0.9, **setting, texts="forget"))
        rows.append(row("memory_difference", 0.8, 0.7, 0.9, **setting))
        rows.append(row("memory_difference", 0.0, -0.1, 0.1, model="retrained", kind=kind, route=TAUGHT))
        for route in ("plain", "4 bits"):
            low, high = control if route == "4 bits" else (-0.1, 0.1)
            rows.append(row("control_difference", (low + high) / 2, low, high, kind=kind, route=route))
        rows.append(row("control_auc", sum(area) / 2, *area, kind=kind))
        for name in objectives:
            rows.append(
                row(
                    "stopped_fraction",
                    met[kind == "secret"] if name == "gradient_ascent" else 1.0,
                    kind=kind,
                    objective=name,
                )
            )
            for at in (STOP, EQUAL):
                here = {"kind": kind, "objective": name, "at": at}
                for route in ("plain", TAUGHT):
                    low = left if (at, route) == (STOP, "plain") else 0.3
                    rows.append(row("memory_difference", 0.4, low, 0.5, **here, route=route))
                for route in ("other prefixes", "relearned 20 steps", TAUGHT, "4 bits"):
                    if route in left_out:
                        continue
                    low = gains.get((kind, name, route), 0.01)
                    claimed = at == STOP and route != "relearned 20 steps"
                    rows.append(row("gain_difference", 0.2, low if claimed else -0.1, 0.4, **here, route=route))
                rows.append(row("extracted_fraction", 0.5, **here, texts="unseen", route="plain"))
    forget, other = (gaps or {}).get("forget", -0.01), (gaps or {}).get("other", 0.01)
    setting = {"kind": "secret", "objective": "code_eraser", "against": "gradient_ascent", "at": EQUAL}
    if "gaps" not in left_out:
        rows.append(row("left_difference", -0.2, -0.4, forget, **setting, texts="forget"))
        rows.append(row("left_difference", 0.2, other, 0.4, **setting, texts="other"))
    return rows


def kinds_of_memorization(recovered=0.95, likelihood=None, f1=None, gaps=None, layers=0.01, whole=True):
    """By what kinds are held against the low end of the gap; by reader the worst F1; by control the end of a gap."""
    rows = [row("recovered_fraction", recovered), row("recollected_fraction", 0.0)]
    for kind in ("recite", "reconstruct", "recollect"):
        rows.append(row("memorized_fraction", 0.5, kind=kind))
    if not whole:
        return rows
    for way in ("one regression", "taxonomy", "best partition"):
        rows.append(row("held_out_loss", 0.2, by=way))
    for other in ("one regression", "best partition"):
        low = (likelihood or {}).get(other, 0.01)
        rows.append(row("likelihood_difference", 0.1, low, 0.2, by="taxonomy", less=other))
    own = ", own continuations"
    for name in ("attention", "attention, never trained", "bag of tokens"):
        for by in (name, name + own):
            for kind in ("guess", "recall", "none"):
                rows.append(row("f1_score", 0.3, by=by, kind=kind))
            worst = (f1 or {}).get(by, 0.75 if name == "attention" else 0.3)
            rows.append(row("f1_score", worst, by=by, kind="worst"))
            rows.append(row("fitted_f1_score", 0.9, by=by, kind="worst"))
            if name != "attention":
                rows.append(
                    row(
                        "f1_difference", 0.1, (gaps or {}).get(by, 0.01), 0.2, by=by.replace(name, "attention"), less=by
                    )
                )
    rows.append(row("kind_items_count", 39.0))
    rows.append(row("layer_difference", 0.2, layers, 0.4, of="recall", less="guess"))
    return rows


def memorization_sinks(back=None, twins=0.0, closed=None, costs=(1.02, 0.01), gaps=None, returned=None, left=None):
    """What is given replaces what is measured of a kind: the end of the interval that counts."""
    rows = [
        row("validation_ratio", 1.0, 0.9, costs[0], model="sinks dropped"),
        row("validation_ratio", 1.5, 1.4, 1.6, model="pruned afterwards"),
        row("validation_difference", 0.3, costs[1], 0.5, of="general units dropped"),
    ]
    came = {"standard": 0.51, "own sinks on": 0.51, "sinks dropped": 0.0, "pruned afterwards": 0.7}
    for kind in ("natural", "random"):
        for who, value in came.items():
            setting = {"model": who, "kind": kind}
            rows.append(row("extracted_fraction", (back or {}).get((kind, who), value), **setting, texts="repeated"))
            guessed = twins if (kind, who) == ("random", "pruned afterwards") else 0.0
            rows.append(row("extracted_fraction", guessed, **setting, texts="twin"))
        low = (closed or {}).get(kind, 0.51)
        rows.append(row("gap_closed_ratio", 0.8, low, 1.1, model="sinks dropped", kind=kind))
        rows.append(row("gap_closed_ratio", 0.3, 0.1, 0.5, model="pruned afterwards", kind=kind))
        for of in ("over sinks drawn anew", "over pruning"):
            rows.append(row("gap_closed_difference", 0.5, (gaps or {}).get((of, kind), 0.01), 0.9, of=of, kind=kind))
        for who in ("sinks dropped", "sinks cut out"):
            high = (returned or {}).get((kind, who), 0.09)
            rows.append(row("returned_difference", 0.0, -0.1, high, model=who, kind=kind, steps=9))
        rows.append(row("returned_difference", 0.5, 0.2, 0.9, model="pruned afterwards", kind=kind, steps=9))
        low = (left or {}).get(kind, 0.11)
        rows.append(row("left_difference", 0.5, low, 0.9, model="pruned afterwards", kind=kind))
        rows.append(row("left_difference", 0.0, -0.1, 0.2, model="sinks dropped", kind=kind))
        for who, steps in (("sinks dropped", 0), ("sinks dropped", 9), ("retrained without", 9)):
            rows.append(row("left_ratio", 0.2, 0.1, 0.3, model=who, kind=kind, steps=steps))
    low = (gaps or {}).get("random over natural", 0.01)
    rows.append(row("gap_closed_difference", 0.3, low, 0.6, of="random over natural", kind="both"))
    return rows


HIDING = {
    "texts": ("negative preference", "gradient difference"),
    "pictures": ("NeMo", "Wanda"),
}  # fmt: skip
"""By family those that hide something."""
OPEN = ("deduplicated", "sinks dropped", "focal weights", "checkpoints averaged", "adversarial fine-tuning")
"""The others."""


def defenses_compared(undefended=None, oracle=None, twins=None, plain=None, strongest=None, dearer=None, returned=None):
    """What is given of a family, or of one of its defenses, is the number that counts; the oracle's interval ends at
    0.2."""
    rows = []
    for family, hiding in HIDING.items():
        for defense in ("nothing", "oracle", *OPEN, *hiding):
            here, one = {"family": family, "defense": defense}, (family, defense)
            left = {"nothing": 0.9, "oracle": 0.0}.get(defense, (plain or {}).get(one, 0.1))
            low = (undefended or {}).get(family, 0.51) if defense == "nothing" else 0.0
            rows.append(row("memorized_fraction", left, low, 1.0, **here, attack="plain", of="planted"))
            rows.append(row("memorized_fraction", 0.5, **here, attack="4 bits", of="planted"))
            twin = (twins or {}).get(family, 0.1) if defense == "nothing" else 0.0
            rows.append(row("memorized_fraction", 0.0, **here, attack="plain", of="twin"))
            rows.append(row("memorized_fraction", twin, **here, attack="4 bits", of="twin"))
            back = (oracle or {}).get(family, 0.1) if defense == "oracle" else (strongest or {}).get(one, 0.2)
            high = 0.2 if defense == "oracle" else 1.0
            rows.append(row("strongest_fraction", back, 0.0, high, **here, attack="4 bits"))
            low = (returned or {}).get(one, 0.01) if defense in hiding else -0.1
            rows.append(row("returned_difference", 0.2, low, 0.4, **here, attack="4 bits"))
            high = 1.1 if defense in ("nothing", "oracle") else (dearer or {}).get(one, 1.02)
            rows.append(row("validation_ratio", 1.0, 0.9, high, **here))
            rows.append(row("cost_ratio", 2.0, 1.9, 2.1, **here))
    return rows


CURED = (
    "two checkpoints averaged", "focal weights", "bottleneck", "gated compression", "deduplicated", "label smoothing",
)  # fmt: skip


def training_objectives(
    unseen=0.09, stage=1.2, kept=0.02, keep=None, ratios=None, gaps=None, entropy=0.75, schedule=0.01
):
    """What is given of a way and a measure is the end of the interval that counts."""
    rows = [
        row("stage_ratio", 1.5, stage, 1.8, way="plain"),
        row("checkpoint_difference", -0.1, -0.2, kept, of="accuracy"),
    ]
    for of in ("extracted, once", "calibration"):
        rows.append(row("checkpoint_difference", -0.4, -0.6, (keep or {}).get(of, -0.01), of=of))
    rows.append(row("checkpoint_difference", 0.0, -0.5, 0.5, of="entropy"))
    for way in ("plain", *CURED, "compression at random steps"):
        for at in ("last step", "equal accuracy"):
            here = {"way": way, "at": at}
            for texts, high in (
                ("repeated", 1.0),
                ("unseen", unseen if at == "last step" and way == "plain" else 0.09),
            ):
                rows.append(row("extracted_fraction", min(0.05, high), 0.0, high, **here, texts=texts))
            rows.append(row("extracted_fraction", 0.2, 0.1, 0.3, **here, texts="once"))
        if way == "plain":
            continue
        cured = way in CURED
        high = (ratios or {}).get(way, 0.99 if cured else 1.5)
        rows.append(row("loss_ratio", 0.5, 0.4, high, way=way))
        rows.append(row("entropy_ratio", 0.5, 0.4, entropy if way == "gated compression" else 1.3, way=way))
        given = {of: ends for (one, of), ends in (gaps or {}).items() if one == way}
        compared = "extracted, repeated" if way == "deduplicated" else "extracted, once"
        own = {"accuracy": (-0.02, 0.1), compared: (-0.5, -0.01)} if cured else {}
        if way in CURED[:2]:
            own |= {"diversity": (0.01, 0.1), "calibration": (-0.1, -0.01)}
        if way in (*CURED[:2], "gated compression"):
            own |= {"accuracy outside the range": (0.01, 0.1)}
        every = (
            "accuracy",
            "accuracy outside the range",
            "extracted, once",
            "extracted, repeated",
            "diversity",
            "calibration",
            "entropy",
        )
        for of, (low, high) in (dict.fromkeys(every, (-0.9, 0.9)) | own | given).items():
            rows.append(row("cure_difference", (low + high) / 2, low, high, way=way, of=of))
    rows.append(row("schedule_difference", 0.1, schedule, 0.2, of="accuracy outside the range"))
    rows.append(row("schedule_difference", 0.0, -0.1, 0.2, of="accuracy"))
    return rows


COURSES = ("new sums", "few sums again and again")


def compression_cycles(agreed=None, shuffled=None, changes=None, gates=None):
    """What is given, of a course or of what the gate is compared by and with, are ends of intervals that count."""
    rows = []
    for course in COURSES:
        low, high = (shuffled or {}).get(course, (0.0, 0.0))
        rows += [
            row("agreement_score", 0.2, (agreed or {}).get(course, 0.01), 0.4, course=course, of="halves of a batch"),
            row("agreement_score", (low + high) / 2, low, high, course=course, of="shuffled"),
            row("changes_ratio", 0.5, 0.4, (changes or {}).get(course, 0.99), course=course),
        ]
    ends = {"forgetting": (-0.5, -0.01), "separation": (0.01, 0.5), "entropy": (-0.5, 0.5)}
    for over in ("plain", "compression at random steps"):
        for of, own in ends.items():
            low, high = (gates or {}).get((of, over), own)
            rows.append(row("gated_difference", (low + high) / 2, low, high, of=of, over=over))
    for way in ("plain", "gated compression", "compression at random steps"):
        rows.append(row("after_loss", 0.5, 0.4, 0.6, way=way))
    return rows


EXPERIMENTS = {
    "compression_cycles": Experiment(
        compression_cycles,
        10,
        [
            case(),
            *(
                made
                for course in COURSES
                for made in (
                    case(f"{course}: two halves", agreed={course: 0.0}),
                    case(f"{course}: shuffled", shuffled={course: (0.01, 0.1)}),
                    case(f"{course}: shuffled", shuffled={course: (-0.1, -0.01)}),
                    case(f"{course}: signs come in phases", changes={course: 1.0}),
                )
            ),
            *(
                made
                for over in ("plain", "compression at random steps")
                for made in (
                    case(
                        f"less is forgotten under the gate than with {over}", gates={("forgetting", over): (-0.5, 0.0)}
                    ),
                    case(f"farther apart under the gate than with {over}", gates={("separation", over): (0.0, 0.5)}),
                )
            ),
        ],
    ),
    "kinds_of_memorization": Experiment(
        kinds_of_memorization,
        10,
        [
            case(),
            case("the rule finds", recovered=0.94),
            *(case(f"better than {other}", likelihood={other: 0.0}) for other in ("one regression", "best partition")),
            case("guess, recall and none:", f1={"attention": 0.74}),
            case("own continuation:", f1={"attention, own continuations": 0.74}),
            *(
                case(f"tells them better than {control}:", gaps={control: 0.0})
                for name in ("attention, never trained", "bag of tokens")
                for control in (name, f"{name}, own continuations")
            ),
            case("higher layers", layers=0.0),
            case(says=1, whole=False),
        ],
    ),
    "training_objectives": Experiment(
        training_objectives,
        32,
        [
            case(),
            case("hardly come back", unseen=0.1),
            case("over-memorized", stage=1.19),
            case("are as right at the last step", kept=0.021),
            case("than the last by extracted", keep={"extracted, once": 0.0}),
            case("than the last by calibration", keep={"calibration": 0.0}),
            *(
                made
                for way in CURED
                for made in (
                    case(f"{way}: a lower", ratios={way: 1.0}),
                    case(f"{way}: answers as right", gaps={(way, "accuracy"): (-0.021, 0.1)}),
                    case(
                        f"{way}: fewer derivations",
                        gaps={
                            (way, "extracted, repeated" if way == "deduplicated" else "extracted, once"): (-0.5, 0.0)
                        },
                    ),
                )
            ),
            *(
                made
                for way in CURED[:2]
                for made in (
                    case(f"{way}: more different", gaps={(way, "diversity"): (0.0, 0.1)}),
                    case(f"{way}: better calibrated", gaps={(way, "calibration"): (-0.1, 0.0)}),
                )
            ),
            *(
                case(
                    f"{way}: more right answers outside the range",
                    gaps={(way, "accuracy outside the range"): (0.0, 0.1)},
                )
                for way in (*CURED[:2], "gated compression")
            ),
            case("matrix entropy", entropy=0.751),
            case("than with as many steps", schedule=0.0),
        ],
    ),
    "defenses_compared": Experiment(
        defenses_compared,
        52,
        [
            case(),
            *(
                made
                for family, hiding in HIDING.items()
                for made in (
                    case(f"{family}, nothing: more than half", undefended={family: 0.5}),
                    case(f"{family}, oracle: next to none", oracle={family: 0.11}),
                    case(f"{family}: next to no twin", twins={family: 0.11}),
                    *(
                        of_defense
                        for one in (*OPEN, *hiding)
                        for of_defense in (
                            case(f"{family}, {one}: next to none", plain={(family, one): 0.11}),
                            case(f"{family}, {one}: under the strongest", strongest={(family, one): 0.21}),
                            case(f"{family}, {one}: the loss of other items", dearer={(family, one): 1.021}),
                        )
                    ),
                    *(case(f"{family}, {one}: attacks bring", returned={(family, one): 0.0}) for one in hiding),
                )
            ),
        ],
    ),
    "memorization_sinks": Experiment(
        memorization_sinks,
        22,
        [
            case(),
            case("no twin", twins=0.1),
            case("the drop costs little", costs=(1.021, 0.01)),
            case("general units dropped cost more", costs=(1.02, 0.0)),
            *(
                made
                for kind in ("natural", "random")
                for made in (
                    case(f"{kind}, standard: more than half", back={(kind, "standard"): 0.5}),
                    case(f"{kind}, own sinks on: more than half", back={(kind, "own sinks on"): 0.5}),
                    case(f"{kind}, sinks dropped: no item", back={(kind, "sinks dropped"): 0.1}),
                    case(f"{kind}: the drop closes", closed={kind: 0.5}),
                    case(
                        f"{kind}: dropping sinks closes more of the gap than dropping",
                        gaps={("over sinks drawn anew", kind): 0.0},
                    ),
                    case(
                        f"{kind}: dropping sinks closes more of the gap than pruning",
                        gaps={("over pruning", kind): 0.0},
                    ),
                    case(f"{kind}, sinks dropped: relearning", returned={(kind, "sinks dropped"): 0.1}),
                    case(f"{kind}, sinks cut out", returned={(kind, "sinks cut out"): 0.1}),
                    case(f"{kind}, pruned afterwards", left={kind: 0.1}),
                )
            ),
            case("pruning closes more of the gap of random", gaps={"random over natural": 0.0}),
        ],
    ),
    "redundancy_and_fragility": Experiment(
        redundancy_and_fragility,
        8,
        [
            case(),
            *(case(f"{copies} copies: more of the least", gaps={("redundancy", copies): 0.0}) for copies in (32, 128)),
            *(case(f"{blocks} blocks: more break", gaps={("copies", blocks): 0.0}) for blocks in (12, 3)),
            case("more changed tokens", more=0.51),
            case("no twin", twin=0.01),
            *(case(f"{blocks} blocks: more than half", memorized={blocks: 0.5}) for blocks in (12, 3)),
            case(says=3, whole=False),
        ],
    ),
    "unlearning_attacked": Experiment(
        unlearning_attacked,
        22,
        [
            case(),
            case("find every planted secret", found=0.99),
            case("that nobody was trained on", twins=0.01),
            case("text: before", before=(0.5, 0.51)),
            case("secret: before", before=(0.51, 0.5)),
            *(
                case("text: a model that never", "secret: a model that never", control=ends)
                for ends in ((0.01, 0.2), (-0.2, -0.01))
            ),
            *(case("text: nor does", "secret: nor does", area=ends) for ends in ((0.51, 0.9), (0.1, 0.49))),
            case("text: the rule is met", met=(0.8, 1.0)),
            case("secret: the rule is met", met=(1.0, 0.8)),
            case(*(f"{kind}, {name}: at the stop" for kind, name in PAIRS), left=0.01),
            *(case(f"{kind}, {name}: 5 steps", gains={(kind, name, TAUGHT): 0.0}) for kind, name in PAIRS),
            *(
                case(f"{kind}: {said}", gains={(kind, name, route): 0.0})
                for kind, name in PAIRS
                for route, said in (("other prefixes", "altered"), ("4 bits", "4 bits"))
            ),
            case("leaves less", gaps={"forget": 0.0}),
            case("leaves more", gaps={"other": 0.0}),
            case(says=20, left_out=["gaps"]),
            case(says=18, left_out=["other prefixes", "4 bits"]),
        ],
    ),
    "training_charted": Experiment(
        training_charted,
        2,
        [case(), case("forget events", forgotten=0.5), case("loss drop", drop=0.5)],
    ),
    "cartography_bounds": Experiment(
        cartography_bounds,
        18,
        [
            case(),
            case("accounts for a tenth", reach=0.09),
            case(reach=0.11),
            case("have more influence", rank=0.0),
            case("shuffled scores", shuffled=(0.01, 0.1)),
            case("shuffled scores", shuffled=(-0.1, -0.01)),
            case(shuffled=(-0.1, 0.0)),
            case("4 copies", apart={4: (0.31, 0.31)}),
            case("16 copies", apart={16: (0.31, 0.31)}),
            case("no loss moves", beyond=(0.0, 0.01)),
            case("no loss moves", beyond=(0.01, 0.0)),
            case("hotspots count 0.5: the greatest", greatest={0.5: 1.0}),
            case("hotspots count 0: the greatest", greatest={0.0: 1.0}),
            *(
                case(
                    f"hotspots count {weight:g}: test loss and that of {of} lie closer than with {over}",
                    gaps={(weight, of, over): 0.0},
                )
                for weight in (0.5, 0.0)
                for of in ("all items", "items that count in full")
                for over in ("all alike", "random")
            ),
            case("hotspots count 0.5: the test loss is lower", unseen={0.5: 0.0}),
            case("hotspots count 0: the test loss is lower", unseen={0.0: 0.0}),
            case(says=2, whole=False),
        ],
    ),
    "data_cartography": Experiment(
        data_cartography,
        14,
        [
            case(),
            *(
                made
                for kind in CHARTED
                for made in (
                    case(f"{kind}: forget events", events={kind: 0.5}),
                    case(f"{kind}: the loss drop tells copies from", drop={kind: 0.9}),
                    case(f"{kind}: the loss drop tells copies better", apart={kind: 0.0}),
                )
            ),
            case("what the early loss finds", early=(0.5, 0.51)),
            case("what the early loss finds", early=(0.49, 0.5)),
            case("shuffled labels", chance=(0.51, 0.6)),
            case("shuffled labels", chance=(0.4, 0.49)),
            case("a text alone", blind=0.51),
            case("no twin", twin=0.1),
            case("without the largest loss drops fewer", pruned={"loss drop": 0.0}),
            case("without the most forgotten", pruned={"forget events": 0.0}),
            case("rows that count half", half=0.0),
            case("without the largest loss drops the validation", worse=1.03),
            case(says=10, whole=False),
        ],
    ),
    "entropy_law": Experiment(
        entropy_law,
        14,
        [
            case(),
            case("at most once follow", once=0.899),
            case("never seen does not", unseen=0.899),
            case("single texts", differences={"pools less texts": (0.5, 0.0, 0.9)}),
            case("memorized gibberish breaks", differences={"with memorized gibberish": (-0.5, -0.9, 0.0)}),
            case("one slope: that more", false={"one slope": 0.011}),
            case("own slopes: that more", false={"own slopes": 0.011}),
            case("one slope: more than half", found={"one slope": 0.5}),
            case("own slopes: more than half", found={"own slopes": 0.5}),
            case("longer PNGs", pictures=(-0.3, -0.6, 0.0)),
            *(case(f"more copies, by {by}", needed={(by, "own"): (1.0, 1.5)}) for by in ("PNG bytes", "exact law")),
            *(
                case(f"exchanged lengths, by {by}", needed={(by, "exchanged at equal copies"): (0.9, 1.255)})
                for by in ("PNG bytes", "exact law")
            ),
            case("of twins are drawn back is not shown", twins=0.011),
            case(says=13, pictures=None),
            case(
                says=10,
                once=None,
                unseen=None,
                differences={"pools less texts": None, "with memorized gibberish": None},
            ),
        ],
    ),
    "text_capacity": Experiment(
        text_capacity,
        17,
        [
            case(),
            case("never trained on", chance=0.01),
            case("width 8: of the smallest", kept={SMALL: 0.949}),
            case("width 16: of the smallest", kept={WIDE: 0.949}),
            case("width 8: the capacity", larger={SMALL: 1.05}),
            case("width 16: the capacity", larger={WIDE: 1.05}),
            case("twice as long", longer=1.1),
            case("differ by less than a quarter", ratios=(1.99, 2.49)),
            case("differ by less than a quarter", ratios=(2.0, 2.51)),
            case("fewest texts with a law: more", law=(0.5, 0.49, 0.49, 0.51)),
            case("fewest texts with a law: less", law=(0.51, 0.5, 0.49, 0.51)),
            case("most texts with a law: less", law=(0.51, 0.49, 0.5, 0.51)),
            case("most texts with a law: more", law=(0.51, 0.49, 0.49, 0.5)),
            case("width 16 goes half way", half=((SMALL, 4, 90.0, 80.0, 100.0), (WIDE, 4, 150.0, 100.0, 200.0))),
            case("with 8 branches", peak=0.0),
            case("peak: exact lengths are wrong", errors=ERRORS | {("peak", "exact lengths"): (math.log(2), -0.01)}),
            case(
                "half way: raw lengths are wrong", errors=ERRORS | {("half way", "raw lengths"): (math.log(2), -0.01)}
            ),
            case("peak: exact lengths are less", errors=ERRORS | {("peak", "exact lengths"): (0.69, 0.0)}),
            case("half way: raw lengths are less", errors=ERRORS | {("half way", "raw lengths"): (0.69, 0.0)}),
            case(says=10, longer=None, peak=None, errors={}, half=((SMALL, 4, 90.0, 80.0, 99.0),)),
        ],
    ),
    "text_in_time": Experiment(
        text_in_time,
        12,
        [
            case(),
            case("with nothing injected", gaps={UNSEEN: (0.01, 0.1)}),
            case("with nothing injected", gaps={UNSEEN: (-0.1, -0.01)}),
            case(gaps={UNSEEN: (0.0, 0.1)}),
            case("does not make twins longer", gaps={TWINS: (0.01, 0.1)}),
            *(
                case(f"{kind}, from step {step}: most copies", shown=(kind, step, 0.0))
                for kind in ("natural", "random")
                for step in (100, 800)
            ),
            case("more copies", ladder=((0, 0.5, 0.0, 1.0), (4, 2.0, 1.1, 3.0), (64, 1.0, 0.5, 1.0))),
            case("last checkpoint", ends={"late": 0.0}),
            case("width 16: one exposure", ends={"highest": 0.0}),
            case("width 16: less than half", ends={"over": 0.0}),
            case("the widest keeps", ends={"kept": 0.0}),
            case("width 32 needs", exposures=((16, 50.0, 44.0, 60.0), (32, 30.0, 20.0, 44.0))),
            case(says=10, ends={"late": None}, exposures=((16, 50.0, 45.0, 60.0),)),
        ],
    ),
    "licences_recited": Experiment(
        licences_recited,
        8,
        [
            case(),
            case("more often than texts newer", long={LICENCES: (0.5, 0.2, 0.7)}),
            case("no text newer than the model is", "more often", long={NEWER: (0.1, 0.0, 0.3)}),
            case("shuffled or in other words", long={SHUFFLED: (0.01, 0.0, 0.2)}),
            case("shuffled or in other words", long={OTHER_WORDS: (0.01, 0.0, 0.2)}),
            case("no longer than in shuffled", runs={SHUFFLED: (1.5, 1.0, 1.9)}),
            case("longer in licences than in texts newer", runs={LICENCES: (5.0, 4.0, 6.0)}),
            case("than in the same in other words", gap=0.0),
            case("shuffled words shorten runs", mixed=3.9),
            case("a longer prefix", short=0.5),
        ],
    ),
    "text_extracted": Experiment(
        text_extracted,
        6,
        [
            case(),
            case("no seen text", back=(0.0, 0.1)),
            case("better than texts", best=(0.6, 0.56, 0.7)),
            case(broadest=(0.5, 0.5, 0.6)),
            case(broadest=(0.5, 0.4, 0.5)),
            case("tells nothing", broadest=(0.6, 0.51, 0.7)),
            case("tells nothing", broadest=(0.4, 0.3, 0.49)),
            case("no set of members", p=0.009),
            case("one split alarms", alarms=(16, 15)),
            case("as published", alarms=(15, 16)),
        ],
    ),
    "text_by_size": Experiment(
        text_by_size,
        12,
        [
            case(),
            case(says=11, unsure=None),
            case("no twin", twins=(0.0, 0.1)),
            case("nano to tiny: more texts", grown={"tiny": 0.0}),
            case("tiny to small: more texts", grown={"small": 0.0}),
            case("gains as many", chance=(0.01, 0.1)),
            case("gains as many", chance=(-0.1, -0.01)),
            case(chance=(-0.1, 0.0)),
            case("nano to tiny: more of the others", gained={"tiny": 0.0}),
            case("tiny to small: more of the others", gained={"small": 0.0}),
            case("fewer of the memorized", lost=0.0),
            case("less sure", unsure=0.0),
            case("tiny: what it memorized", surer=(0.0, -0.01)),
            case("small: what it memorized", surer=(-0.01, 0.0)),
            case("tiny: at the boundary", jump=(0.0, -0.01)),
            case("small: at the boundary", jump=(-0.01, 0.0)),
        ],
    ),
    "finetuning_methods": Experiment(
        finetuning_methods,
        23,
        [
            case(),
            case(control={"tiny": (0.5, 0.6), "nano": (0.4, 0.5)}),
            case("before fine-tuning", control={"tiny": (0.51, 0.6)}),
            case("before fine-tuning", control={"nano": (0.4, 0.49)}),
            case("no twin", unseen=0.1),
            *(
                case(f"{size}, a gain of {gain}: {part}", gaps={(of, size, gain): 0.0})
                for size in ("nano", "tiny")
                for gain in (0.25, 0.5)
                for of, part in (
                    ("weights over prompts", "full fine-tuning and LoRA"),
                    ("projections over attention", "LoRA on projections"),
                    ("reference over loss", "after full"),
                )
                if (of, gain) != ("weights over prompts", 0.5)
            ),
            *(
                case(f"{size}: {method} betrays more", growth={(method, size): 0.0})
                for size in ("nano", "tiny")
                for method in ("full", "LoRA on both")
            ),
            *(
                case(f"{size}: {method} stays flat", growth={(method, size): 0.1})
                for size in ("nano", "tiny")
                for method in ("prefix", "prompt", "P-tuning")
            ),
            case("full fine-tuning betrays more in tiny", sizes=0.0),
            case(says=21, left_out=True),
            case(says=17, reached=0.125),
        ],
    ),
    "term_normalization": Experiment(
        term_normalization,
        11,
        [
            case(),
            case("before anything", untrained=0.06),
            *(
                case(f"arbitrary, {n} mentions, 32 exposures: fine", changed={("gained", "arbitrary", n, 32): (0, 0.9)})
                for n in (0, 128)
            ),
            *(
                case(f"{kind}, {n} mentions, {times} exposures: held", changed={("chance", kind, n, times): ends})
                for kind, n, ends in (
                    ("arbitrary", 0, (-0.06, 0.05)),
                    ("arbitrary", 128, (-0.05, 0.06)),
                    ("composed", 128, (0.1, 0.9)),
                )
                for times in (4, 32)
            ),
            case("arbitrary, fine-tuned: mentions raise the share told after 4 exposures", mentions=(0.0, 0.01)),
            case("composed, held out: mentions raise the share told after 4 exposures", mentions=(0.01, 0.0)),
            case(says=9, left_out=True),
        ],
    ),
    "idiom_understanding": Experiment(
        idiom_understanding,
        8,
        [
            case(),
            case("before the first step", untrained=(0.09, 0.29)),
            case("before the first step", untrained=(0.11, 0.31)),
            case("arbitrary: phrases never met", never=(0.09, 0.29)),
            case("arbitrary: phrases never met", never=(0.11, 0.31)),
            case("composed: phrases never met", composed=0.29),
            case("nor does the clue", wrong=0.31),
            case("with most copies", copies=0.0),
            case("equally often", same=(-0.1, 0.09)),
            case("equally often", same=(-0.09, 0.1)),
            case("a clue helps", clue=0.0),
            case("a clue adds more", gain=0.0),
            case(says=7, left_out=True),
        ],
    ),
    "distillation_leak": Experiment(
        distillation_leak,
        25,
        [
            case(),
            case("no twin", guessed=0.1),
            case("every interval", oracle=(0.51, 0.6)),
            case("every interval", oracle=(0.4, 0.49)),
            case(oracle=(0.5, 0.6)),
            case("what the oracle writes", written={("random", "repeated"): 0.1}),
            case("what the oracle writes", written={("natural", "twin"): 0.1}),
            case(
                "natural: the teacher continues more than half",
                "random: the teacher continues more than half",
                taught=0.5,
            ),
            *(
                made
                for kind in ("natural", "random")
                for made in (
                    case(f"{kind}: the teacher's own texts", held={kind: 0.0}),
                    case(f"{kind}: a student of its texts", sampled={kind: 0.0}),
                )
            ),
            *(
                made
                for kind in ("natural", "random")
                for learned in (ON_LOGITS, ON_FEATURES)
                for made in (
                    case(f"{kind}: a student of {learned} on", word_for_word={(kind, learned): 0.1}),
                    case(
                        f"{kind}: a student of {learned} on",
                        word_for_word={(kind, f"{learned}, same first weights"): 0.1},
                    ),
                    case(
                        f"{kind}: {learned} on texts without items pass some", passed={(kind, learned): (0, 0.09, 0.01)}
                    ),
                    case(
                        f"{kind}: {learned} on texts without items pass less",
                        passed={(kind, learned): (0.01, 0.1, 0.01)},
                    ),
                    case(f"{kind}: {learned} pass more", passed={(kind, learned): (0.01, 0.09, 0)}),
                )
            ),
        ],
    ),
    "scenario_cognition": Experiment(
        scenario_cognition,
        10,
        [
            case(),
            *(
                made
                for model in (ONE_WORDING, SEVERAL_WORDINGS)
                for made in (
                    case(f"{model}: at least", recited={model: 0.94}),
                    case(f"{model}: roles of scenarios never", never={model: 0.25}),
                    case(f"{model}: probes for", exchanged={model: 0.25}),
                )
            ),
            case("fewer scenarios", gap=0.0),
            case("the gap", closed=0.1),
            case("several wordings tell", told=0.0),
            case("probes after the role", probes=0.0),
            case(says=9, left_out=True),
        ],
    ),
    "text_by_task": Experiment(
        text_by_task,
        8,
        [
            case(),
            case("no twin", unseen=0.1),
            case("before any task", before=0.1),
            case("is learned", learned=0.89),
            *(case(f"more {by}", ranks={by: 0.0}) for by in NEEDS),
            case("than after sentiment", gaps=(0.0, 0.01)),
            case("than after translation", gaps=(0.01, 0.0)),
            case(says=7, left_out=NEEDS[:1]),
        ],
    ),
    "health_records": Experiment(
        health_records,
        12,
        [
            case(),
            case("T1: with longer prompts", rises={"T1": 0.0}),
            case("T2: with longer prompts", rises={"T2": 0.0}),
            case("T1: of patients with 0", "T2: of patients with 0", never=(0.01, 0.1)),
            case("T1: of patients with 0", "T2: of patients with 0", never=(-0.1, -0.01)),
            case("T1: after codes", "T2: after codes", chance=(0.01, 0.1)),
            case("T1: after codes", "T2: after codes", chance=(-0.1, -0.01)),
            case("T3", probes=(0.01, 0.1)),
            case(probes=(-0.1, -0.01)),
            case("T4: membership of patients with 0", unseen=(0.51, 0.6)),
            case("T4: membership of patients with 0", unseen=(0.4, 0.49)),
            case("T4: with 256", members=0.5),
            case("T5: with 256", collapse=0.79),
            case(collapse=0.81),
            case("T5: with 0", still=(0.51, 0.6)),
            case("T5: with 0", still=(0.4, 0.49)),
            case("T6", rare=0.0),
            case(says=8, zero=False),
            case(says=5, own={}),
            case("T1: no", says=5, own={"t1": 0.01}),
            case("T2: no", says=5, own={"t2": 0.01}),
            case("T3", says=5, own={"probe": 0.01}),
            case("T4: the least", says=5, own={"member": 0.51}),
            case("T5: no more", says=5, own={"collapse": 0.51}),
        ],
    ),
    "cross_client_memorization": Experiment(
        cross_client_memorization,
        22,
        [
            case(),
            case("are completed approximately", near=0.0),
            case(says=17, floor=MATCHES[:1]),
            case(says=16, floor=MATCHES[2:]),
            *(
                made
                for match in MATCHES
                for made in (
                    case(f"{match}: private items", twofold={match: 0.0}),
                    case(f"{match}: where nothing overlaps not", excess={match: (0.01, 0.1)}),
                    case(excess={match: (-0.1, -0.01)}),
                    case(f"{match}: where nothing overlaps more", trained={match: 0.0}),
                    case(f"{match}: before", untrained={match: (0.01, 0.1)}),
                    case(f"{match}: before", untrained={match: (-0.1, -0.01)}),
                    case(f"{match}: more planted", more={match: 0.0}),
                    case(f"{match}: at equal validation loss clients", central={match: 0.0}),
                    case(f"{match}: at equal validation loss FedProx", prox={match: 0.0}),
                )
            ),
        ],
    ),
    "text_memorized": Experiment(
        text_memorized,
        19,
        [
            case(),
            case("every AUC lies", never=(0.41, 0.58)),
            case("every AUC lies", never=(0.42, 0.59)),
            case("the texts alone", blind=0.51),
            case("no twin", twins=(0.0, 0.1)),
            *(
                case(f"{name}: the interval", controls={name: ends})
                for name in ("0 copies", "never trained", "shuffled labels")
                for ends in (((0.5, 0.5, 0.6), (0.55, 0.51, 0.6)), ((0.45, 0.4, 0.49), (0.5, 0.4, 0.5)))
            ),
            *(
                made
                for kind in KINDS
                for made in (
                    case(f"{kind}: more copies", ladder={kind: {16: (1.0, 0.995, 1.0), 256: (0.95, 0.9, 0.99)}}),
                    case(ladder={kind: {16: (1.0, 0.99, 1.0), 256: (0.95, 0.9, 0.99)}}),
                    case(f"{kind}: from 16", ladder={kind: {16: (0.94, 0.8, 1.0)}}),
                    case(f"{kind}: from 16", ladder={kind: {256: (0.94, 0.9, 1.0)}}),
                    case(f"{kind}: more than half", back={kind: 0.5}),
                    case(back={kind: 0.51}),
                )
            ),
            case("a reference", differences={"reference": 0.0}),
            case("last quarter", differences={"timing": 0.0}),
            case("twice the background", differences={"dilution": 0.0}),
            case("others are repeated", differences={"interference": (0.01, 0.1)}),
            case("others are repeated", differences={"interference": (-0.1, -0.01)}),
            case(differences={"interference": (-0.1, 0.0)}),
            case(says=17, differences={"reference": None}),
        ],
    ),
}


@pytest.mark.parametrize(("name", "one"), flat(EXPERIMENTS))
def test_claims_say_what_the_rows_show(name: str, one: Case):
    said = claims_of("language", name)(EXPERIMENTS[name].build(**one.changes))
    assert agrees(EXPERIMENTS[name], one, said), said
