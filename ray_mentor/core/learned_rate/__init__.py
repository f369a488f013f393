"""A learning rate that is learnt while the student trains: how much its schedule is multiplied by."""
