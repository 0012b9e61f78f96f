"""UniMP: one language model that sees pictures, for six personalisation tasks."""
