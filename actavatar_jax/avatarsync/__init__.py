"""AvatarSync: speech as units, one keyframe of visual tokens for each, and the frames in between."""
