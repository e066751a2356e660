"""One run from a config: model and data opened, trained, sampled, exported; and jobs of many videos."""
