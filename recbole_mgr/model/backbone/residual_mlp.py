"""The feed-forward block that the hierarchical backbone's item encoder and code decoder are made of."""

from torch import Tensor, nn

from recbole_mgr.model.backbone.dropout import Dropout


class ResidualMLP(nn.Module):
    """Pre-norm feed-forward block: x + W2 gelu(W1 LN(x + mark)); the mark tells the block what it looks at."""

    def __init__(self, *, hidden_size: int, inner_size: int, dropout: float) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.LayerNorm(hidden_size),
            nn.Linear(hidden_size, inner_size),
            nn.GELU(),
            nn.Linear(inner_size, hidden_size),
            Dropout(dropout),
        )

    def forward(self, x: Tensor, mark: Tensor | float = 0.0) -> Tensor:
        return x + self.block(x + mark)
