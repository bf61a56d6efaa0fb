"""The two-tower retriever: towers, training with whole-catalogue validation, export."""
