"""The embedded test bench: a very small LLaVA trained from scratch on a synthetic world."""

__all__: list[str] = []
