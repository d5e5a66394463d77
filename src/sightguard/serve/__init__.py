"""An OpenAI-compatible server for a guarded model: it fails closed, and says for each request what was inspected.

This package never imports torch: what answers is an `Engine` (`sightguard.serve.job`), made in `sightguard.engine`.
"""
