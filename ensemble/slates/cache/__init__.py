"""Where slates are kept, for those who write them: LMDB, Redis or DynamoDB, each in one file."""
