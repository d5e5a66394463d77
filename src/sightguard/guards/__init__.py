"""Guards that work on text and answers alone: a `Generate` in, a `Generate` out."""
