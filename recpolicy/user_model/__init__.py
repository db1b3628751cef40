"""Models the items that a user takes next: calibrated probabilities, blended from several recommenders."""
