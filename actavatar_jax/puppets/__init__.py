"""The toy world with exact truth: puppets that speak and act, their judge, the recipe of their model, the demo."""
