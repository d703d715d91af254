"""Discretisations: how a run is sampled for a law. One file each; see `discretisation.py`."""
