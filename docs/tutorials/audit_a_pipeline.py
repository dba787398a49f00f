# # Audit a pipeline
#
# A Stable Diffusion was trained on pictures with captions. Does it draw some of them again when it is given their
# captions? `difflab.audit` asks for every caption, compares what is drawn with the training picture, and says how many
# are copies. It also runs detectors, which see the model only, and says how well these find the copied captions.
#
# Here we audit the small pipeline that comes with difflab. It saw some pictures hundreds of times, most once, and some
# never, and we know which. For a pipeline of your own, give its folder and that of its pictures:
# `difflab.audit("my_pipeline/", data="my_pictures/")`.

import difflab

# We ask for few captions in few steps, to be done in seconds. Without these flags the audit takes minutes and is surer.

audit = difflab.audit("planted", captions=56, seeds=2, steps=5, detectors="noise_magnitude")

# The result is a table. Every number has an interval (low, high) and a count (n). `captions` names the group: how often
# the picture was shown in training. `measure` is how two pictures are compared, and `seeds` whether one seed is enough
# for a copy (any) or half of them are needed (median).

rates = audit.table("memorized_fraction", measure="pixel", seeds="any")
print(rates[["captions", "value", "low", "high", "n"]].to_string(index=False))

# A copy is a picture that is more like its caption's own training picture than a threshold. That threshold was fitted
# before, on pictures that no model saw: at most one in a thousand of those passes.

for row in audit.rows:
    if row.metric == "threshold_similarity" and row.setting["measure"] == "pixel":
        print(f"threshold of likeness: {row.value:.3f}")

# What the owner of a pipeline hopes for is a claim. It held or it did not.

for claim, held in audit.claims.items():
    print("held:" if held else "did not hold:", claim)

# Keep the result, look at its figures, and cite the papers behind it. In a notebook `audit` shows itself.

kept = audit.save("results")
print("figures:", ", ".join(kept.figures))
print(kept.cite())
