"""Pictures and films for people: sheets, previews, curves."""
