# # Test a CLIP
#
# A CLIP learns from pictures with captions. A caption never names everything that its picture shows. If the model tells
# what a caption leaves out, better than somebody could guess, it remembers the picture. `difflab.dejavu` asks that.
#
# Without flags it trains two small models on collages of five objects, of which captions name two. The other three were
# drawn independently of the caption, so nobody can guess them: without memory the AUC is one half.

import difflab

# Few pictures and little training, to be done in seconds. For models of your own give files:
# `difflab.dejavu(model="my_clip/", reference="other.safetensors", data="my_pairs/", ...)`.

few = {"n": 80, "study.public": 500, "held_out": 100, "targets": 80}
short = {"steps": 160, "study.training.batch": 40, "workers": 1, "study.replicates": 50}
clip = difflab.dejavu(**few, **short)

# The first model (target) saw the pairs, the second one did not. Each looks up captions among public pictures, and the
# objects of those are its guess. The ceiling is what a picture itself finds there.

for row in clip.rows:
    if row.metric == "hidden_auc" and row.setting.get("trained") == "target":
        print(f"hidden AUC, {row.setting['of']}: {row.value:.2f} [{row.low:.2f}, {row.high:.2f}]")

# The gap is how much more the first one tells than each reference. With permuted captions there must be none.

gaps = clip.table("gap_score", of="hidden_auc", trained="target")
print(gaps[["reference", "value", "low", "high"]].to_string(index=False))

for claim, held in clip.claims.items():
    print("held:" if held else "did not hold:", claim)
