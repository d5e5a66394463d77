"""Answers batches of requests with a guarded model: what a server runs behind its queue."""
