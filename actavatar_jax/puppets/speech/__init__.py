"""What puppets say: sentences, a voice, phonemes with their times, and what lips do in them."""
