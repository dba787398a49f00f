"""What the claims of experiments/clip say of rows made by hand; a boundary is met from both sides."""

import pytest
from handmade import Case, Experiment, agrees, case, claims_of, flat, row


def clip_audited(lows=(0.05, 0.05), permuted=((0.1, 0.0, 0.2), (-0.1, -0.2, 0.0)), never=(0.04, 0.04)):
    rows = []
    for place, reference in enumerate(("naive Bayes", "nearest by words")):
        mixed = f"{reference}, captions permuted"
        rows.append(row("gap_score", 0.1, lows[place], 0.2, of="hidden_auc", reference=reference, trained="target"))
        rows.append(row("gap_score", *permuted[place], of="hidden_auc", reference=mixed, trained="target"))
        rows.append(row("gap_score", -0.1, -0.2, -0.1, of="ppg", reference=reference, trained="target"))
        rows.append(row("gap_score", -0.1, -0.2, -0.1, of="hidden_auc", reference=reference, trained="reference"))
        if never:
            rows.append(
                row("gap_score", -0.05, -0.1, never[place], of="hidden_auc", reference=reference, trained="never")
            )
            rows.append(row("gap_score", 0.3, 0.2, 0.4, of="hidden_auc", reference=mixed, trained="never"))
    return rows


MEMBER, KEYED = "member and non-member", "other key words"
GAPS = ("ppg", "prg", "aucg", "hidden_ppg", "hidden_prg", "hidden_aucg", "hidden_auc")
NULLS = {
    "two non-members": (0.05, 0.0, 0.1),
    "same data, new seed": (-0.05, -0.1, 0.0),
    "permuted queries": (0.0095, 0.005, 0.02),
    "captions shuffled in training": (-0.0095, -0.02, -0.005),
    "never trained": (0.0, -0.1, 0.1),
}


def clip_dejavu(lows=None, nulls=None, keyed=0.048, guess=(0.5, 0.5, 0.5)):
    rows = [row("gap_score", 0.1, (lows or {}).get(of, 0.01), 0.2, models=MEMBER, of=of) for of in GAPS]
    for name, found in (NULLS | (nulls or {})).items():
        rows.append(row("gap_score", *found, models=name, of="hidden_auc"))
        rows.append(row("gap_score", -0.5, -0.6, -0.4, models=name, of="ppg"))
    rows.append(row("gap_score", keyed, 0.0, 0.1, models=KEYED, of="hidden_auc"))
    rows.append(row("hidden_auc", 0.7, 0.6, 0.8, models=MEMBER, of="target"))
    return [*rows, row("hidden_auc", *guess, models=MEMBER, of="reference")]


def clip_dejavu_scaling(epochs=(0.1, 0.9, 0.4), share=(0.4, 0.0, 0.1), copies=(0.1, 0.9, 0.4)):
    """Every interval reaches 0.1 to both sides. Rows do not come in the order of what was changed."""
    rows = []
    for axis, values in {"epochs": epochs, "pictures, fixed steps": share, "copies": copies}.items():
        for at, value in reversed(list(enumerate(values))):
            here, interval = {"axis": axis, "at": at}, (value, round(value - 0.1, 9), round(value + 0.1, 9))
            rows.append(row("gap_score", 0.5, 0.4, 0.6, **here, of="ppg"))
            if axis == "pictures, fixed steps":
                rows.append(row("ceiling_share_ratio", *interval, **here))
            else:
                rows.append(row("gap_score", *interval, **here, of="hidden_auc"))
    return rows


WORDS, MASKED = "random words 0.15", "masked words 0.3"


def clip_mitigated(lowered=None, useful=0.0, decays=((0.05, 0.0, 0.1), (-0.05, -0.1, 0.0))):
    """The masked words cost retrieval."""
    low = {WORDS: (-0.1, -0.2, -0.01), MASKED: (-0.1, -0.2, -0.01), "temperature cap 10.0": (0.1, 0.1, 0.1)}
    low |= {f"weight decay {place + 1}.0": found for place, found in enumerate(decays)} | (lowered or {})
    rows = [row("lowered_score", *found, mitigation=label, of="hidden_auc") for label, found in low.items()]
    for label in low:
        high = useful if label == WORDS else -0.1
        rows.append(row("useful_score", high - 0.1, high - 0.2, high, mitigation=label, of="retrieved"))
    return rows


def clip_one_model(differences=(0.0195, -0.0195), ranks=(0.5, 0.6)):
    rows = []
    for correlation, two in ((0.0, 0.2), (0.5, -0.2)):
        found = {
            "second model": (0.0, 1.0),
            "another second model": (0.1, 0.4),
            "exact chances": (differences[0], ranks[0]),
            "naive Bayes": (differences[1], ranks[1]),
        }
        for reference, (difference, high) in found.items():
            here = {"reference": reference, "correlation": correlation}
            rows.append(row("gap_score", two if reference == "second model" else 9.0, **here))
            rows.append(row("difference_score", difference, difference - 0.1, difference + 0.1, **here))
            value = 0.5 if reference == "another second model" else high - 0.1
            rows.append(row("ranking_similarity", value, high - 0.4, max(high, value), **here))
    return rows


def both(*parts):
    return [f"{part[0]}, correlation {world}: {part[1]}" for part in parts for world in ("0", "0.5")]


EXPERIMENTS = {
    "clip_audited": Experiment(
        clip_audited,
        6,
        [
            case(),
            case("more than naive Bayes", lows=(0.0, 0.05), never=(-0.01, 0.04)),
            case("more than nearest by words", lows=(0.05, 0.0), never=(0.04, -0.01)),
            case("naive Bayes: with permuted", permuted=((0.1, 0.001, 0.2), (0.0, 0.0, 0.0))),
            case("nearest by words: with permuted", permuted=((0.0, 0.0, 0.0), (-0.1, -0.2, -0.001))),
            case("naive Bayes: on pairs", never=(0.05, 0.04)),
            case("nearest by words: on pairs", never=(0.04, 0.05)),
            case(says=4, never=None),
        ],
    ),
    "clip_dejavu": Experiment(
        clip_dejavu,
        14,
        [
            case(),
            *(case(f"{of.replace('_', ' ')} gap of", lows={of: 0.0}) for of in GAPS),
            *(case(f"{name}: no", nulls={name: (0.0105, 0.005, 0.02)}) for name in NULLS),
            *(case(f"{name}: no", nulls={name: (-0.0105, -0.02, -0.005)}) for name in NULLS),
            case("other key words", keyed=0.052),
            case("guesses", guess=(0.6, 0.51, 0.7)),
            case("guesses", guess=(0.4, 0.3, 0.49)),
        ],
    ),
    "clip_dejavu_scaling": Experiment(
        clip_dejavu_scaling,
        3,
        [
            case(),
            case("epochs", epochs=(0.1, 0.9, 0.3)),
            case("pictures", share=(0.3, 0.0, 0.1)),
            case("more copies", copies=(0.1, 0.9, 0.3)),
            case("epochs", "pictures", "more copies", epochs=(), share=(), copies=()),
        ],
    ),
    "clip_mitigated": Experiment(
        clip_mitigated,
        4,
        [
            case(),
            case(f"gap: {WORDS}", "some of it", lowered={WORDS: (-0.1, -0.2, 0.0)}),
            case(f"gap: {MASKED}", lowered={MASKED: (-0.1, -0.2, 0.0)}),
            case("some of it", useful=-0.01),
            case("weight decay", decays=((0.05, 0.001, 0.1), (0.0, -0.1, 0.1))),
            case("weight decay", decays=((-0.05, -0.1, -0.001), (0.0, -0.1, 0.1))),
            case(says=3, decays=()),
        ],
    ),
    "clip_one_model": Experiment(
        clip_one_model,
        8,
        [
            case(),
            case(*both(("exact chances", "its gap")), differences=(0.0205, 0.0)),
            case(*both(("naive Bayes", "its gap")), differences=(0.0, -0.0205)),
            case(*both(("exact chances", "ranks")), ranks=(0.49, 0.6)),
            case(*both(("naive Bayes", "ranks")), ranks=(0.6, 0.49)),
        ],
    ),
}


@pytest.mark.parametrize(("name", "one"), flat(EXPERIMENTS))
def test_claims_say_what_the_rows_show(name: str, one: Case):
    said = claims_of("clip", name)(EXPERIMENTS[name].build(**one.changes))
    assert agrees(EXPERIMENTS[name], one, said), said
