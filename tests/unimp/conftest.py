"""The plugin is imported before any test imports transformers' models, which may need its repairs."""

import recbole_mgr  # noqa: F401
