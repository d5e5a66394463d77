"""Where parts of models stand when no public accessor of transformers tells. Data, not code: add a row."""

PROJECTOR_PATHS = (
    "multi_modal_projector", "connector", "visual.merger", "mm_projector", "aligner", "embed_vision", "merger", "visual_embeddings_table",
)  # fmt: skip
"""Paths of the vision-to-language projector below `model.base_model`; checked in this order."""

CROSSING = "cross_attention_layers"
"""The entry of a text configuration that lists the blocks which look at pictures only."""

THOUGHT_TAGS = (("<think>", "</think>"), ("<thinking>", "</thinking>"), ("[THINK]", "[/THINK]"))
"""What a thinking model writes before and after its thoughts; a pair counts where the chat template names it."""
