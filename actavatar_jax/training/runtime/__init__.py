"""What keeps a long run alive: checkpoints, the guard against signals, the watchdog, its folder and its records."""
