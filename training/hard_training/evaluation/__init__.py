"""What a model or a recipe is worth, on people that it has not seen, told so that it can't flatter.

    folds       who trains, who chooses, who is tested
    crossval    learners side by side, each person tested once
    transfer    learned on one data set, tested on another
    stress      a finished model where the phone, the rate or the motion is another
    streaming   whole recordings through the daemon's pipeline: events, not windows
    openings    how often the official test people were looked at
    report      all of it on one page

Called by the command line alone; scores of windows are `hard_training.evaluate`'s.
"""
