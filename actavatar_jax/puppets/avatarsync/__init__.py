"""AvatarSync on puppets: heads cut out of drawn clips, the three trainings, and scores against the truth."""
