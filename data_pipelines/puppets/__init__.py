"""The drawn world: a presenter whose mouth follows a synthesised voice and whose arms move in timed windows."""
