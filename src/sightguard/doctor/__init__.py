"""A self-test of Sightguard on a model as it is loaded here: measured, with a tolerance and its reason beside each figure."""
