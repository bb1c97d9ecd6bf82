"""Train members and predict what they did not see.

recipe          what a member is: every choice in one frozen, checked object, from TOML or YAML
loop            fit: the training loop in sight
averages        of weights along training: the moving average
dynamics        what training says of each row: margin, loss, wrong predictions
checkpoints     a member's state at the end of an epoch, whole or absent
member          one model to be: a recipe, a fold, a seed; and what a finished one says
train_member    a member trained, and gone on with where it was cut off
time_limit      when a training has to end
processes       which of several processes this is
member_units    members as units of work, on any executor
cross_validate  all members over all folds
soft_labels     targets that lean on out-of-fold probabilities
nested          pairs: members that hold out two folds, behind cleaning and softening that leak nothing
tracking        metrics to TensorBoard, W&B, Trackio, MLflow as well
mixing          two photos in one
"""
