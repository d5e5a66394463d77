"""SafeVLM / PSA-VLM: safety projector, safety tokens and safety head, two-stage training, answers controlled by risk."""
