"""Compute what a model needs of memory: its weights, and the cache of keys and values of each token. Nothing is loaded or measured.

python -m scripts.sizing               # the models of scripts/sizing.yaml, into results/sizing.json
python -m scripts.sizing --model DIR   # a checkpoint of yours, of which config.json is read
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from scripts.provenance import ROOT, provenance
from sightguard.artifacts import write_json
from sightguard.data.taxonomy import read_yaml

FILE = Path(__file__).with_suffix(".yaml")
RESULT = ROOT / "results" / "sizing.json"
BYTES = {"float32": 4, "bfloat16": 2}
"""Of one number; float16 is as large as bfloat16."""
TOKENS, REQUESTS = 2048, 16
"""Of the table's example: tokens of a request with its answer, and requests of a batch."""


def size(config: Any) -> dict[str, int]:
    """Return the count of parameters, and the numbers that the cache holds for each token.

    The cache: layers x heads of keys and values x length of a head x 2. A layer that sees a window alone holds less than that once a
    conversation is longer than the window.

    Args:
        config: of transformers.

    Raises:
        SystemExit: a model of which not every layer keeps keys and values.
    """
    import torch
    from transformers import AutoModelForImageTextToText

    with torch.device("meta"):  # shapes alone
        model = AutoModelForImageTextToText.from_config(config)
    text = config.get_text_config()
    kinds = set(getattr(text, "layer_types", None) or ["full_attention"])
    if not kinds <= {"full_attention", "sliding_attention", "chunked_attention"}:
        raise SystemExit(
            f"layers of the kinds {sorted(kinds)}: expected attention alone; a state-space layer keeps a state of fixed size, which is not "
            "computed here"
        )
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    length = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return {
        "parameters": sum(one.numel() for one in model.parameters()),
        "cache_per_token": 2 * text.num_hidden_layers * heads * length,
    }


def table(results: dict[str, Any]) -> list[str]:
    """Return the table of the documentation."""
    lines = [
        "| model | parameters | weights, bfloat16 | weights, float32 | cache of a token, bfloat16 | "
        f"cache of {REQUESTS} requests of {TOKENS:,} tokens |",
        "| --- | --: | --: | --: | --: | --: |",
    ]
    for name, one in results["models"].items():
        weights = [f"{one['parameters'] * BYTES[dtype] / 1e9:.1f} GB" for dtype in ("bfloat16", "float32")]
        token = one["cache_per_token"] * BYTES["bfloat16"]
        cache = [f"{token / 1e3:,.0f} kB", f"{token * REQUESTS * TOKENS / 1e9:.1f} GB"]
        lines.append(" | ".join([f"| `{name}`", f"{one['parameters'] / 1e9:.2f} B", *weights, *cache]) + " |")
    return [
        *lines,
        "",
        f"Computed from each model's published sizes, not measured: `python -m scripts.sizing`, with transformers "
        f"{results['provenance']['versions']['transformers']}. GB are 10⁹ bytes.",
    ]


def main() -> None:
    from transformers import AutoConfig

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="folder of a checkpoint")
    folder = parser.parse_args().model
    if folder is not None:
        one = size(AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False))
        print("\n".join(table({"models": {folder.resolve().name: one}, "provenance": provenance()})))
        return
    sizes = {name: AutoConfig.for_model(**row) for name, row in read_yaml(FILE).items()}
    found = {name: size(config) for name, config in sizes.items()}
    write_json(RESULT, {"schema": 1, "models": found, "provenance": provenance()})


if __name__ == "__main__":
    main()
