"""Cross-validation and repeats: a folder of runs, measured together.

With K folds each example is tested once, by a network that was trained on the others; repeats make
the folds anew, from another seed. Repeats without folds train on one split again and again, each
time from another seed.
"""
