"""From videos as they come to clips on one clock."""
