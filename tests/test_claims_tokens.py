"""What the claims of experiments/tokens say of rows made by hand; a boundary is met from both sides."""

from itertools import product

import pytest
from handmade import Case, Experiment, agrees, case, claims_of, flat, row

from difflab.audits.picture_rows import EQUAL_QUALITY

FAMILIES = ("raster", "next-scale", "diffusion")
ORDERS = FAMILIES[:2]
CONTROLS = ("shuffled labels", "oracle", "blind")
ALIKE = ((0.5, 0.5, 0.6), (0.5, 0.4, 0.5))


def picture_tokens_memorized(
    twins=0.02,
    oracle=0.02,
    controls=None,
    weights=1.29,
    flops=1.09,
    most=None,
    tokens=None,
    differences=None,
    alarms=0.04,
    left=(),
):
    """Rungs stand in the wrong order; what is given of a family replaces what is measured of it."""
    rows = []
    for family in FAMILIES:
        # Half way other things hold.
        rows.append(
            row("memorized_fraction", 0.5, 0.4, 0.6, family=family, trained=0.5, model="model", pictures="twin")
        )
        for copies, pictures, ends in (
            (64, "repeated", (0.9, (most or {}).get(family, 0.51), 1.0)),
            (0, "twin", (0.0, 0.0, twins if family == "diffusion" else 0.01)),
            (16, "repeated", (0.3, 0.2, 0.4)),
        ):
            here = {"family": family, "trained": 1.0, "model": "model", "pictures": pictures, "copies": copies}
            rows.append(row("memorized_fraction", *ends, **here))
        rows.append(row("weights_count", 1e5 * (weights if family == "diffusion" else 1), family=family))
        rows.append(row("training_flops_count", 1e12 * (flops if family == "raster" else 1), family=family))
    for order in ORDERS:
        here = {"family": order, "trained": 1.0, "model": "oracle", "pictures": "repeated", "copies": 0}
        rows.append(row("memorized_fraction", 0.0, 0.0, oracle if order == "next-scale" else 0.0, **here))
        for given, shares in ((8, {64: (0.6, 0.5, 0.7), 0: (0.1, 0.0, 0.3), 16: (0.2, 0.1, 0.3)}), (0, {})):
            shares = shares or {64: (0.1, 0.0, 0.2), 0: (0.5, 0.4, 0.6)}
            for copies, ends in shares.items():
                if given == 8 and copies == 0:
                    ends = (0.1, 0.0, (tokens or {}).get(order, 0.49))
                setting = {"family": order, "given": given, "copies": copies}
                role = "repeated" if copies else "twin"
                rows.append(row("extracted_fraction", *ends, pictures=role, judged="all tokens", **setting))
                rows.append(row("extracted_fraction", 0.9, 0.8, 1.0, pictures=role, judged="pixel", **setting))
        found = {"signal": 0.01, "leak": 0.01, "likeliest": 0.01} | (differences or {}).get(order, {})
        for copies in (1, 4, 16):
            for name in ("signal", "leak"):
                low = found[name] if copies == 4 else -0.5
                rows.append(row(f"{name}_difference", 0.1, low, 0.2, family=order, copies=copies))
        for of, at in product((order, "diffusion"), ("equal compute", *EQUAL_QUALITY.values())):
            rows.append(row("copied_fraction", 0.5, 0.4, 0.6, family=order, at=at, copies=16, of=of))
        for name in ("conditional loss", "conditional min_k_plus_plus"):
            low = found["likeliest"] if name.endswith("plus") else -0.5
            rows.append(row("auc_difference", 0.1, low, 0.2, family=order, copies=4, of=name))
        for signal in ("conditional", "difference"):
            rows.append(row("auc", 0.7, 0.6, 0.8, family=order, method=f"{signal} loss", copies=4))
        for at in ("equal compute", "equal pictures shown", *EQUAL_QUALITY.values()):
            low = found.get(at, 0.01 if at != "equal pictures shown" else -0.5)
            rows.append(row("copies_difference", 0.1, low, 0.2, family=order, against="diffusion", at=at, copies=16))
    # Together 0.02, however many there are of either.
    for size, share in ((10, alarms), (20, 0.0)):
        rows.append(row("false_alarm_fraction", share, family="raster", sample=size))
    for name in CONTROLS:
        for ends in (controls or {}).get(name, ALIKE):
            rows.append(row("control_auc", *ends, control=name))
    return [one for one in rows if one.metric not in left]


def unit_memorization(most=None, twins=None, fired=None, before=None, gaps=None, left=()):
    """Other shares, levels and rankings say the opposite; what is given of an order replaces what is measured of it."""
    rows = []
    for order in ORDERS:
        for copies, ends in (
            (64, (0.9, (most or {}).get(order, 0.51), 1.0)),
            (0, (0.0, 0.0, (twins or {}).get(order, 0.02))),
            (16, (0.3, 0.2, 0.4)),
        ):
            role = "repeated" if copies else "twin"
            rows.append(row("extracted_fraction", *ends, order=order, pictures=role, copies=copies))
        for model, copies, ends in (
            ("trained", 0, (0.3, 0.2, (fired or {}).get(order, 0.49))),
            ("trained", 64, (0.7, 0.6, 0.8)),
            ("untrained", 0, (before or {}).get(order, (0.5, 0.5, 0.5))),
            ("untrained", 64, (0.9, 0.8, 1.0)),
        ):
            role = "repeated" if copies else "twin"
            rows.append(row("fired_for_fraction", *ends, order=order, model=model, pictures=role, copies=copies))
        for factor, ranking in ((0.5, "UnitMem"), (0.0, "UnitMem"), (0.0, "not moved")):
            here = {"order": order, "factor": factor, "ranking": ranking}
            for place in ({"share": 0.1}, {"share": 0.2}):
                for against in ("whole", "random"):
                    claimed = against == "whole" and place == {"share": 0.1} and ranking == "UnitMem"
                    high = (gaps or {}).get((order, factor, against), -0.01) if claimed else 0.5
                    setting = here | place | {"against": against, "at": "equal share"}
                    rows.append(row("kept_difference", -0.1, -0.2, high, **setting))
            for level in (1.01, 1.02):
                for against in ("random", "of twins"):
                    claimed = level == 1.02 and ranking == "UnitMem"
                    high = (gaps or {}).get((order, factor, against), -0.01) if claimed else 0.5
                    setting = here | {"level": level, "against": against, "at": "equal validation loss"}
                    rows.append(row("kept_difference", -0.1, -0.2, high, **setting))
            for name in (ranking, "random") if ranking == "UnitMem" else (ranking,):
                told = here | {"ranking": name, "level": 1.02, "at": "equal validation loss"}
                rows.append(row("kept_fraction", 0.4, 0.3, 0.5, **told))
    return [one for one in rows if one.metric not in left]


OUTSIDE = (((0.5, 0.5, 0.6), (0.55, 0.51, 0.6)), ((0.45, 0.4, 0.49), (0.5, 0.4, 0.5)))
EXPERIMENTS = {
    "picture_tokens_memorized": Experiment(
        picture_tokens_memorized,
        24,
        [
            case(),
            case("no family draws twins", twins=0.021),
            case("no oracle draws", oracle=0.021),
            *(case(f"{name}: every interval", controls={name: ends}) for name in CONTROLS for ends in OUTSIDE),
            case("alarms on twins", alarms=0.05),
            case("cost alike", weights=1.31),
            case("cost alike", flops=1.11),
            *(
                made
                for family in FAMILIES
                for made in (case(f"{family}: over half", most={family: 0.5}), case(most={family: 0.6}))
            ),
            *(
                made
                for order in ORDERS
                for made in (
                    case(f"{order}: more pictures", tokens={order: 0.5}),
                    case(f"{order}: what the caption adds tells pictures", differences={order: {"signal": 0.0}}),
                    *(
                        case(f"{order} copies more than diffusion at {at}", differences={order: {at: 0.0}})
                        for at in ("equal compute", *EQUAL_QUALITY.values())
                    ),
                    case(f"{order}: what the caption adds tells 4 copies", differences={order: {"leak": 0.0}}),
                    case(f"{order}: Min-K %++ given the caption", differences={order: {"likeliest": 0.0}}),
                )
            ),
            # Nothing is said of what is not there, and controls that were not made do not hold.
            case(
                "no family", "no oracle", *(f"{name}: every" for name in CONTROLS), "cost alike",
                says=6,
                left=(
                    "memorized_fraction", "control_auc", "weights_count", "training_flops_count", "extracted_fraction",
                    "signal_difference", "leak_difference", "copies_difference", "false_alarm_fraction",
                    "auc_difference",
                ),
            ),
        ],
    ),
    "unit_memorization": Experiment(
        unit_memorization,
        20,
        [
            case(),
            *(
                made
                for order in ORDERS
                for made in (
                    case(f"{order}: whole models give", most={order: 0.5}),
                    case(f"{order}: of twins", twins={order: 0.021}),
                    case(f"{order}: the top units fire", fired={order: 0.5}),
                    case(f"{order}, before training", before={order: (0.6, 0.51, 0.7)}),
                    case(f"{order}, before training", before={order: (0.4, 0.3, 0.49)}),
                    case(before={order: (0.5, 0.5, 0.7)}),
                    case(before={order: (0.5, 0.3, 0.5)}),
                    *(
                        case(f"{order}, units count {factor:g}: {said}", gaps={(order, factor, against): 0.0})
                        for factor in (0.5, 0.0)
                        for against, said in (
                            ("whole", "without the top tenth"),
                            ("random", "at equal validation loss fewer than without random"),
                            ("of twins", "at equal validation loss fewer than without the top units of twins"),
                        )
                    ),
                )
            ),
            # Nothing is said of what is not there: no level that every model reaches, no models.
            case(says=8, left=("kept_difference",)),
            case(says=4, left=("kept_difference", "fired_for_fraction")),
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "one"), flat(EXPERIMENTS))
def test_claims_say_what_the_rows_show(name: str, one: Case):
    said = claims_of("tokens", name)(EXPERIMENTS[name].build(**one.changes))
    assert agrees(EXPERIMENTS[name], one, said), said
