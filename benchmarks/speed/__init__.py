"""How fast rounds are, beside other engines that do the same arithmetic in the same run."""
