"""What each client adds: leave-one-out and Shapley values by retraining, beside FedCE's weights."""
