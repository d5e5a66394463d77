"""Guard the embedded model, and ask it and its guarded twin the same thing."""

from sightguard import VLM, VlmGuard, steer
from sightguard.pocket.world import anchors, settings

vlm = VLM.load("pocket")  # or a folder, or a Hugging Face id
guard = VlmGuard.fit(vlm, anchors())  # text only, one batched pass
safe = steer(vlm, guard)  # another model to call; vlm itself is untouched

questions = settings("validation", n=3)["blank_image"]  # harmful in pocket's world, beside an empty picture
for question, plain, guarded in zip(questions, vlm(questions), safe(questions), strict=True):
    print(f"{question.text}\n  plain    {plain.text}\n  guarded  {guarded.text}")
