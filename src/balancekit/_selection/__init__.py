"""Parts of selectors that routing, other tiers and the engine use too: pickers, random sampling, child selectors."""
