"""The names of settings and conditions in `results.json`, and how a reader sees them."""

from __future__ import annotations

HARMFUL_SETTINGS = {
    "text_only": "Harmful text, no image",
    "text_only_jailbreak": "Jailbreak-wrapped text, no image",
    "blank_image": "Harmful text + blank image",
    "jailbreak_blank_image": "Jailbreak-wrapped + blank image",
    "harm_in_picture": "Harm in the picture",
}
"""Here an answer is a success of the attack."""

OVER_REFUSAL_SETTINGS = {
    "benign_text": "Benign text",
    "benign_image": "Benign image",
    "safe_verb_harmful_object": "Safe verb, harmful object",
}
"""Here a refusal is a mistake."""

UTILITY_SETTINGS = {"benign_image": "Benign image"}
"""Here the right answer is known."""

CONDITIONS = {
    "none": "No guard",
    "text_only_model": "Text-only model",
    "self_reminder": "Self-Reminder",
    "goal_priority": "Goal Priority",
    "vlm_guard": "VLM-Guard",
    "vlm_guard_caption": "VLM-Guard (caption)",
    "safevlm_stage1": "SafeVLM stage 1",
    "safevlm": "SafeVLM",
}

SETTINGS = HARMFUL_SETTINGS | OVER_REFUSAL_SETTINGS | UTILITY_SETTINGS


def label(name: str) -> str:
    """Return how a reader sees the setting or condition `name`."""
    return (CONDITIONS | SETTINGS).get(name, name.replace("_", " "))
