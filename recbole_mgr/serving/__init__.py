"""A trained run put to use: load its folder anywhere, recommend, let new items in. Knows no data set."""

from recbole_mgr.serving.messages import NewItems, Recommendations, Request
from recbole_mgr.serving.recommender import Recommender, load

__all__ = ["NewItems", "Recommendations", "Recommender", "Request", "load"]
