"""What theory predicts of large layers: the Bayes risk, the risk of the net, both over noise."""
