"""Pages that show a corpus and its steps."""
