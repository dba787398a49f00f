"""What the claims of experiments/language say of rows made by hand; a boundary is met from both sides."""

import pytest
from handmade import Case, Experiment, agrees, case, claims_of, flat, row

LICENCES, OTHER_WORDS = "licences", "licences in other words"
SHUFFLED, NEWER = "licences shuffled", "newer than the model"


def licences_recited(long=None, short=0.1, runs=None, gap=0.5):
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
    return [*rows, row("longest_run_difference", -1.0, -2.0, 0.0, of=LICENCES, against=SHUFFLED)]


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
    reach=0.1, rank=0.01, shuffled=(0.0, 0.1), apart=None, beyond=(0.0, 0.0), greatest=None, gaps=None, whole=True
):
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
                high = (gaps or {}).get((weight, over), -0.01) if own else 0.1
                rows.append(row("gap_difference", -0.3, -0.5, high, **setting, over=over))
    return rows


EXPERIMENTS = {
    "training_charted": Experiment(
        training_charted,
        2,
        [case(), case("forget events", forgotten=0.5), case("loss drop", drop=0.5)],
    ),
    "cartography_bounds": Experiment(
        cartography_bounds,
        12,
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
                    f"hotspots count {weight:g}: test and training loss lie closer than with {over}",
                    gaps={(weight, over): 0.0},
                )
                for weight in (0.5, 0.0)
                for over in ("all alike", "random")
            ),
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
    "licences_recited": Experiment(
        licences_recited,
        7,
        [
            case(),
            case("more often than texts newer", long={LICENCES: (0.5, 0.2, 0.7)}),
            case("no text newer than the model is", "more often", long={NEWER: (0.1, 0.0, 0.3)}),
            case("shuffled or in other words", long={SHUFFLED: (0.01, 0.0, 0.2)}),
            case("shuffled or in other words", long={OTHER_WORDS: (0.01, 0.0, 0.2)}),
            case("no longer than in shuffled", runs={SHUFFLED: (1.5, 1.0, 1.9)}),
            case("do not meet", runs={LICENCES: (5.0, 4.0, 6.0)}),
            case("than in the same in other words", gap=0.0),
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
