"""Closed-form baselines: registered with RecBole like any other model, in the same tables, without gradients."""
