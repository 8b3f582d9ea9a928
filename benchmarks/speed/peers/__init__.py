"""The same federated training by other means: each file one small, honest program."""
