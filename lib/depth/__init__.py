"""Self-supervised depth from video: Monodepth2 (CPCDR sec. 3.1), learned here from nothing.

`task.read_triplets` -> `task.DepthTask` -> `training.train` -> `task.predict_inverse_depth` -> `metrics.score_frames`.
"""
