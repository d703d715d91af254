"""Array mathematics without any knowledge of runs, files or laws; see README.md."""
