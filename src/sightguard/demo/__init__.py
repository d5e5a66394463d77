"""`sightguard demo`: the papers' phenomenon and its mending, on the embedded model, in minutes."""
