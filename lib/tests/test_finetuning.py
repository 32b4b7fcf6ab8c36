import numpy as np
import torch

from lib.finetuning import LabelledSampler, LabelledTask


def make_sampler(batch=4):
    rng = np.random.default_rng(0)
    labels = np.zeros((3, 32, 64), np.uint8)
    labels[:, 16:] = 1
    labels[:, :, :2] = 255
    images = (labels[..., None] % 255 * 150 + rng.integers(0, 60, (3, 32, 64, 3))).astype(np.uint8)
    return LabelledSampler(images, labels, batch, seed=1)


def test_a_batch_is_a_function_of_the_step():
    sampler = make_sampler()
    assert all(torch.equal(a, b) for a, b in zip(sampler(3).values(), sampler(3).values()))
    assert not torch.equal(sampler(3)["images"], sampler(4)["images"])


def test_image_and_label_stay_together():
    batch = make_sampler()(0)
    bright = batch["images"].float().mean(dim=-1) > 75
    valid = batch["labels"] < 2
    assert ((batch["labels"] == 1) == bright)[valid].float().mean() > 0.97


def test_it_learns_a_plain_task():
    task = LabelledTask("resnet18", 16, 2, make_sampler())
    optimizer = torch.optim.SGD(task.networks.parameters(), 0.05, 0.9)
    for step in range(12):
        loss, _ = task.loss(task.sample(step), step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    predicted, labels = task.predict(task.sample.images), task.sample.labels
    assert (predicted == labels)[labels < 2].mean() > 0.9
