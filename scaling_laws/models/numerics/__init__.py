"""Array mathematics that knows nothing of runs, files or laws."""
