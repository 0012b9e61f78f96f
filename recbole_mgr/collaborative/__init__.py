"""Collaborative vectors as a modality: learned by a RecBole baseline on the training part, guarded against leaks."""
