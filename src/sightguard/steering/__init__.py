"""Methods that edit hidden states while the model runs: one paper, one file."""
