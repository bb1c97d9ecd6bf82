"""Train members and predict the rows that they did not see.

recipe          every choice of training in six frozen groups
fields          typed fields with bounds, checked when a group is made
recipe_files    recipes as TOML or YAML, with changes from the command line
loop            fit: the training loop, and the dynamics of each row
train_state     network, optimizer and averages in training, and their checkpoints
member          one recipe, fold and seed: its training data, its key, its files
train_member    one member trained or resumed, until its folder is sealed
cross_validate  all members over all folds, on any executor
nested          members that hold out two folds, for cleaning and softening without leaks
reuse           pairs of folds that another run has trained
processes       several processes that train together, and the time limit of a training
tracking        metrics for TensorBoard, W&B, Trackio and MLflow
mixing          two photos in one, and transforms of torchvision
"""
