"""The log of events: segments of checked frames, one writer, any number of readers."""
