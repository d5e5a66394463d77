"""The safety gap of a model: what a picture does to its refusals and to the states that they rest on, layer by layer."""
