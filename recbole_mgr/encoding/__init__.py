"""Item vectors from texts and pictures: encoders, what was encoded already, and the feature files."""
