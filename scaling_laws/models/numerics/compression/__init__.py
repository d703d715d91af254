"""Compression of the event history: few weighted events in place of many."""
