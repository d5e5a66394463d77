"""Vision-language models seen through their parts, never through their names."""
