"""Label quality check before anybody pre-trains: do the labels know more than chance, priors and random networks?"""
