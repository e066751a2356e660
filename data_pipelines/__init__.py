"""From a folder of videos to training batches: prepare -> encode -> loader."""
