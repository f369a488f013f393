"""What an audit can't say of a run, and why."""

NO_PREDICTIONS = (
    "the ledger has no predictions (it is of an earlier version, or the student's outputs are no class logits): no "
    "label is suggested, and how many are wrong is not said; samples are ranked by mean loss and mean sample weight"
)
UNLEARNT = (
    "the student's predictions agree with the given labels no more than by chance: it has learnt nothing yet that "
    "could tell wrong labels from right ones, so how many are wrong is not said, and no label is taken for wrong; "
    "train longer"
)
UNTRUSTED = (
    "no trusted samples in training say how often the student errs ({why}): a right label that it contradicts counts "
    "as a wrong one, so where the task is hard this is the student's error rather than the labels', and the interval "
    "does not hold how many are wrong"
)
MAYBE_NONE = (
    "by the interval there may be no wrong label at all: look at the first samples before you leave any out; a larger "
    "trusted set says it better"
)
MIXED = (
    "this run showed its student mixed inputs alone, and what it said of them stands for what it says of each sample"
)
EQUAL = "all samples weighed the same in this run, so that weights say nothing of any"
MEMORISED = (
    "this run has no mentor: a student learns wrong labels by heart, so that there may be more than this; a run of "
    "--method mentornet says it better"
)
