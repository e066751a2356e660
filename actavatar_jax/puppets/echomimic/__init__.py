"""EchoMimicV3 on puppets: parts, clips with their tasks, the rows that are compared, and what they are worth."""
