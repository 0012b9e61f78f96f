"""A trained run put to use: load its folder anywhere, recommend, let new items in. Knows no data set."""

from recbole_mgr.serving.base_recommender import BaseRecommender
from recbole_mgr.serving.baseline_recommender import BaselineRecommender
from recbole_mgr.serving.messages import NewItems, Recommendations, Request
from recbole_mgr.serving.recommender import Recommender, load

__all__ = ["BaseRecommender", "BaselineRecommender", "NewItems", "Recommendations", "Recommender", "Request", "load"]
